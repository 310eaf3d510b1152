/* SPDX-License-Identifier: MIT */
/*
 * All of libqcow2, which finds and decodes the structures of a QCOW2 disk image, without QEMU. It
 * never trusts the image. It writes to an image only by applying a plan or an undo file. It prints
 * nothing, keeps no global state, and opens no file that the image names.
 *
 * A program includes this header or some of its parts, and is built with what pkg-config says of
 * "libqcow2". The parts, by what they are for:
 *
 *   To open an image              source.h, image.h, probe.h, error.h
 *   To see what an image holds    geometry.h, features.h, extension.h, bitmap_directory.h,
 *                                 snapshot.h, luks.h, table.h, walk.h
 *   To prove an image sound       check.h, problem.h, remedy.h, claims.h, vet.h
 *   To read the guest's disk      guest.h, mapping.h, mapping_diff.h
 *   To use dirty bitmaps          bitmap.h, bitmap_file.h, bitmap_edit.h
 *   To find and count bytes       locate.h, usage.h, measure.h, diff.h
 *   To change an image            edit.h, guard.h, undo.h, repair.h, rescue.h
 *   To know the format            format.h, entry.h, limits.h
 *   To read and print             number.h, text.h, version.h
 *
 * A rule of the format that an image breaks, while the work goes on, is no error but a problem: it
 * is handed to a callback (problem.h). What keeps a call from doing its work is an error (error.h).
 *
 * Prints the size of a disk:
 *
 *         struct qcow2_source *source;
 *         struct qcow2_image *image;
 *         struct qcow2_error err;
 *
 *         if (qcow2_source_open("disk.qcow2", &source, &err) == 0) {
 *                 if (qcow2_image_open(source, &image, &err) == 0) {
 *                         const struct qcow2_header *header;
 *
 *                         header = qcow2_image_header(image);
 *                         printf("%" PRIu64 " bytes\n", header->size);
 *                         qcow2_image_close(image);
 *                 }
 *                 qcow2_source_close(source);
 *         }
 */
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
