/* SPDX-License-Identifier: MIT */
/*
 * An image: a source in which the structures of the format can be found.
 *
 * Opening asks for little (the magic number, a version that is known, a whole fixed header), so
 * that broken images can be looked at; what cannot be trusted says so when it is asked for. No
 * other file that an image names is ever opened. Nothing is ever written: edit.h makes plans for
 * that.
 *
 * The parts of an image have headers of their own, all of which this one includes: geometry.h (the
 * numbers), features.h (feature bits), extension.h, bitmap_directory.h, snapshot.h, table.h and
 * luks.h. mapping.h, bitmap.h, walk.h and check.h build on them.
 *
 * Threads: an image may be used by several threads at once, as long as each iterator, reader and
 * stream is used by one of them at a time.
 *
 *	struct qcow2_source *source;
 *	struct qcow2_image *image;
 *	struct qcow2_error err;
 *
 *	if (qcow2_source_open(path, &source, &err))
 *		return fail(&err);
 *	if (qcow2_image_open(source, &image, &err) == 0) {
 *		printf("%" PRIu64 " bytes\n", qcow2_image_header(image)->size);
 *		qcow2_image_close(image);
 *	}
 *	qcow2_source_close(source);
 */
#ifndef QCOW2_IMAGE_H
#define QCOW2_IMAGE_H

#include <qcow2/base.h>
#include <qcow2/bitmap_directory.h>
#include <qcow2/error.h>
#include <qcow2/extension.h>
#include <qcow2/features.h>
#include <qcow2/format.h>
#include <qcow2/geometry.h>
#include <qcow2/luks.h>
#include <qcow2/snapshot.h>
#include <qcow2/source.h>
#include <qcow2/table.h>

QCOW2_BEGIN_DECLS

/* ---- open an image, and see its header ---- */

struct qcow2_image;

/*
 * Opens the image in a source ("Header"). Reads its first cluster, at most 2 MiB of it, or 64 KiB
 * if the cluster size is insane. A success says nothing about the rest: see qcow2_image_geometry(),
 * and qcow2_check() for a judgement.
 *
 * source: stays open until the image is closed, and may be shared by several images. What it holds
 * must not change meanwhile. *out: set on success; the caller closes it with qcow2_image_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_QCOW2    the source is empty, does not start with the magic number, or is of
 *                            version 1 (qcow, an older format); the text says what it is instead,
 *                            if qcow2_probe() knows
 *   QCOW2_ERROR_UNSUPPORTED  a version above 3, or 0
 *   QCOW2_ERROR_BROKEN       the magic number is there, but the file ends inside the fixed header,
 *                            which is 72 bytes in version 2 and 104 in version 3
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT  as qcow2_source_read()
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_image_open(struct qcow2_source *source, struct qcow2_image **out,
			       struct qcow2_error *err);

/*
 * Closes and frees. The source stays open. Everything that was made from the image (iterators,
 * readers, streams) has to be closed before, and views into it end here. image: NULL is fine.
 */
QCOW2_API void qcow2_image_close(struct qcow2_image *image);

/*
 * Gives the header, decoded ("Header", "Additional fields (version 3 and higher)"). The fields that
 * version 2 lacks have the values that the specification fixes for it: no features, refcount_order
 * 4, header_length 72. All else is as stored, and may be wrong.
 *
 * image: not NULL. The result is never NULL; it belongs to the image and lives as long as that
 * does. Thread safe.
 */
QCOW2_API const struct qcow2_header *qcow2_image_header(const struct qcow2_image *image);

/*
 * Gives the bytes of the first cluster: the header, its extensions and the name of the backing
 * file. They are cut where the file ends, and after 2 MiB. If the cluster size is insane, they are
 * the first 64 KiB at most.
 *
 * image: not NULL. The bytes belong to the image and live as long as that does. Thread safe.
 */
QCOW2_API struct qcow2_bytes qcow2_image_first_cluster(const struct qcow2_image *image);

/* Gives the source that the image was opened from, which is not owned by the image. Thread safe. */
QCOW2_API struct qcow2_source *qcow2_image_source(const struct qcow2_image *image);

/*
 * Gives the name of the backing file as stored ("Header": backing_file_offset, backing_file_size),
 * cut to the first cluster, to 1023 bytes and to the file. The file itself is not looked for; names
 * may be relative, or have a protocol of QEMU.
 *
 * image: not NULL. The result is empty if there is no backing file, or if its name does not start
 * in the first cluster. It is bytes of the image: not NUL terminated, maybe not text, and they live
 * as long as the image does. Thread safe.
 */
QCOW2_API struct qcow2_bytes qcow2_image_backing_name(const struct qcow2_image *image);

QCOW2_END_DECLS

#endif
