/* SPDX-License-Identifier: MIT */
/* All of libqcow2. */
#ifndef QCOW2_QCOW2_H
#define QCOW2_QCOW2_H

#include <qcow2/base.h>
#include <qcow2/bitmap.h>
#include <qcow2/bitmap_directory.h>
#include <qcow2/bitmap_edit.h>
#include <qcow2/bitmap_file.h>
#include <qcow2/check.h>
#include <qcow2/claims.h>
#include <qcow2/diff.h>
#include <qcow2/edit.h>
#include <qcow2/entry.h>
#include <qcow2/error.h>
#include <qcow2/extension.h>
#include <qcow2/features.h>
#include <qcow2/format.h>
#include <qcow2/geometry.h>
#include <qcow2/guard.h>
#include <qcow2/guest.h>
#include <qcow2/image.h>
#include <qcow2/limits.h>
#include <qcow2/locate.h>
#include <qcow2/luks.h>
#include <qcow2/mapping.h>
#include <qcow2/mapping_diff.h>
#include <qcow2/measure.h>
#include <qcow2/number.h>
#include <qcow2/probe.h>
#include <qcow2/problem.h>
#include <qcow2/remedy.h>
#include <qcow2/repair.h>
#include <qcow2/rescue.h>
#include <qcow2/snapshot.h>
#include <qcow2/source.h>
#include <qcow2/table.h>
#include <qcow2/text.h>
#include <qcow2/undo.h>
#include <qcow2/usage.h>
#include <qcow2/version.h>
#include <qcow2/vet.h>
#include <qcow2/walk.h>

#endif
