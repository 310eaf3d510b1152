/* SPDX-License-Identifier: MIT */
/* Opening images: what is one, what its header leads to, and where its header extensions are. */
#include "image_fixture.h"

#include "image/extensions.h"

#include <qcow2/version.h>

#include <stdio.h>

static void assert_refused(size_t size, enum qcow2_error_code code)
{
	assert_int_equal(try_bytes(size), -1);
	assert_int_equal(err.code, code);
	assert_null(image);
}

static void what_is_no_image(void **state)
{
	(void)state;
	assert_refused(0, QCOW2_ERROR_NOT_QCOW2);
	put_header(bytes, 0);
	assert_refused(3, QCOW2_ERROR_NOT_QCOW2);
	bytes[3] = 0xfa;
	assert_refused(512, QCOW2_ERROR_NOT_QCOW2);
}

static void unknown_versions_are_unsupported(void **state)
{
	static const uint32_t versions[] = {0, 4, 0xffffffff};

	(void)state;
	put_header(bytes, 0);
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		put_be(bytes + 4, 4, versions[i]);
		assert_refused(512, QCOW2_ERROR_UNSUPPORTED);
		assert_refused(48, QCOW2_ERROR_UNSUPPORTED);
	}
	/* version 1 is another format, whose headers are shorter: 48 bytes */
	put_be(bytes + 4, 4, 1);
	assert_refused(512, QCOW2_ERROR_NOT_QCOW2);
	assert_refused(48, QCOW2_ERROR_NOT_QCOW2);
}

static void file_that_ends_inside_the_header_is_broken(void **state)
{
	(void)state;
	put_header(bytes, 0);
	for (size_t size = 4; size < 104; size++)
		assert_refused(size, QCOW2_ERROR_BROKEN);
	assert_int_equal(try_bytes(104), 0);
	put_be(bytes + 4, 4, 2);
	assert_refused(71, QCOW2_ERROR_BROKEN);
	assert_int_equal(try_bytes(72), 0);
	assert_int_equal(qcow2_image_first_cluster(image).size, 72);
}

static void version_2_has_fixed_values(void **state)
{
	(void)state;
	put_header(bytes, 0);
	put_be(bytes + 4, 4, 2);
	memset(bytes + 72, 0xff, 40);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_image_header(image)->header_length, 72);
	assert_int_equal(qcow2_image_header(image)->refcount_order, 4);
	assert_int_equal(qcow2_image_header(image)->incompatible_features, 0);
	assert_false(qcow2_image_geometry(image)->extended_l2);
}

static void geometry_of_small_clusters(void **state)
{
	const struct qcow2_geometry *g;

	(void)state;
	put_header(bytes, 32769);
	put_be(bytes + 96, 4, 0);
	assert_int_equal(try_bytes(1000), 0);
	g = qcow2_image_geometry(image);
	assert_non_null(g);
	assert_int_equal(g->cluster_size_bytes, 512);
	assert_int_equal(g->file_size_bytes, 1000);
	assert_int_equal(g->l2_entries, 64);
	/* an L2 table maps 64 * 512 = 32768 bytes */
	assert_int_equal(g->l1_entries_needed, 2);
	assert_int_equal(g->refcount_bits, 1);
	assert_int_equal(g->refcount_block_entries, 4096);
	assert_int_equal(g->compressed_offset_bits, 61);
	assert_int_equal(qcow2_image_first_cluster(image).size, 512);
}

static void geometry_of_extended_l2(void **state)
{
	const struct qcow2_geometry *g;

	(void)state;
	put_header(bytes, UINT64_MAX);
	put_be(bytes + 72, 8, 0x14);
	put_be(bytes + 20, 4, 16);
	assert_int_equal(try_bytes(512), 0);
	g = qcow2_image_geometry(image);
	assert_true(g->extended_l2);
	assert_true(g->data_file);
	assert_int_equal(g->l2_entry_bytes, 16);
	assert_int_equal(g->l2_entries, 4096);
	/* 2^64 - 1 over 2^28, rounded up */
	assert_true(g->l1_entries_needed == UINT64_C(1) << 36);
	assert_int_equal(g->compressed_offset_bits, 54);
}

static void assert_sane(uint32_t cluster_bits, uint32_t refcount_order, bool extended, bool sane)
{
	put_header(bytes, 1 << 20);
	put_be(bytes + 20, 4, cluster_bits);
	put_be(bytes + 96, 4, refcount_order);
	put_be(bytes + 72, 8, extended ? 0x10 : 0);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_image_geometry(image) != NULL, sane);
}

static void insane_numbers_leave_no_geometry(void **state)
{
	(void)state;
	assert_sane(8, 4, false, false);
	assert_sane(9, 0, false, true);
	assert_sane(30, 6, false, true);
	assert_sane(31, 4, false, false);
	assert_sane(0xffffffff, 4, false, false);
	assert_sane(16, 7, false, false);
	assert_sane(16, 0xffffffff, false, false);
	/* too small for extended L2 entries is a broken rule, but can be computed with */
	assert_sane(9, 4, true, true);
}

static void backing_name_is_cut(void **state)
{
	(void)state;
	put_header(bytes, 0);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_image_backing_name(image).size, 0);

	put_be(bytes + 8, 8, 508);
	put_be(bytes + 16, 4, 9);
	memcpy(bytes + 508, "abcdefghi", 9);
	assert_int_equal(try_bytes(4096), 0);
	assert_int_equal(qcow2_image_backing_name(image).size, 4);
	assert_memory_equal(qcow2_image_backing_name(image).data, "abcd", 4);
	assert_int_equal(try_bytes(510), 0);
	assert_int_equal(qcow2_image_backing_name(image).size, 2);

	put_be(bytes + 20, 4, 16);
	put_be(bytes + 16, 4, 0xffffffff);
	assert_int_equal(try_bytes(4096), 0);
	assert_int_equal(qcow2_image_backing_name(image).size, 1023);
	put_be(bytes + 8, 8, UINT64_MAX);
	assert_int_equal(try_bytes(4096), 0);
	assert_int_equal(qcow2_image_backing_name(image).size, 0);
}

static void extensions_in_order(void **state)
{
	struct qcow2_extensions *it = NULL;
	const struct qcow2_extension *e = NULL;
	struct qcow2_bytes data;

	(void)state;
	put_header(bytes, 0);
	put_mark(bytes + 104, QCOW2_EXTENSION_BACKING_FORMAT, 5);
	memcpy(bytes + 112, "qcow2\1\2\3", 8);
	put_mark(bytes + 120, 0x12345678, 0);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_extensions_open(image, &it, &err), 0);
	assert_true(qcow2_extensions_next(it, &e));
	assert_int_equal(e->offset_bytes, 104);
	assert_int_equal(e->header.length, 5);
	assert_int_equal(e->raw.size, 8);
	assert_int_equal(e->data.size, 5);
	assert_memory_equal(e->data.data, "qcow2", 5);
	assert_int_equal(e->padding.size, 3);
	assert_memory_equal(e->padding.data, "\1\2\3", 3);
	assert_true(qcow2_extensions_next(it, &e));
	assert_int_equal(e->index, 1);
	assert_int_equal(e->offset_bytes, 120);
	assert_int_equal(e->data.size, 0);
	assert_int_equal(e->padding.size, 0);
	assert_false(qcow2_extensions_next(it, &e));
	assert_true(qcow2_extensions_terminated(it));
	assert_false(qcow2_extensions_next(it, &e));
	assert_int_equal(e->index, 1);
	assert_int_equal(e->size, sizeof(*e));
	qcow2_extensions_close(it);
	assert_true(qcow2_image_find_extension(image, QCOW2_EXTENSION_BACKING_FORMAT, &data));
	assert_int_equal(data.size, 5);
	assert_memory_equal(data.data, "qcow2", 5);
	assert_true(qcow2_image_find_extension(image, 0x12345678, &data));
	assert_int_equal(data.size, 0);
	assert_false(qcow2_image_find_extension(image, 0x12345679, &data));
}

/* Version 2 has extensions, too, from byte 72 on. */
static void extensions_of_version_2(void **state)
{
	struct qcow2_extension e;

	(void)state;
	put_header(bytes, 0);
	put_be(bytes + 4, 4, 2);
	put_mark(bytes + 72, 0x11111111, 1);
	assert_int_equal(try_bytes(512), 0);
	assert_true(q2_find_extension(image, 0x11111111, &e));
	assert_int_equal(e.offset_bytes, 72);
}

static void backing_name_ends_the_extensions(void **state)
{
	struct qcow2_extensions *it = NULL;
	const struct qcow2_extension *e = NULL;
	struct qcow2_bytes data;

	(void)state;
	put_header(bytes, 0);
	put_be(bytes + 8, 8, 124);
	put_mark(bytes + 104, 0x11111111, 13);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_extensions_open(image, &it, &err), 0);
	assert_true(qcow2_extensions_next(it, &e));
	assert_true(e->cut);
	assert_int_equal(e->data.size, 12);
	assert_int_equal(e->padding.size, 0);
	assert_false(qcow2_extensions_next(it, &e));
	assert_false(qcow2_extensions_terminated(it));
	assert_int_equal(qcow2_extensions_at_bytes(it), 128);
	qcow2_extensions_close(it);
	qcow2_extensions_close(NULL);
	/* a name before the extensions leaves no room; one beyond the cluster is nonsense */
	put_be(bytes + 8, 8, 50);
	assert_int_equal(try_bytes(512), 0);
	assert_false(qcow2_image_find_extension(image, 0x11111111, &data));
	put_be(bytes + 8, 8, 513);
	assert_int_equal(try_bytes(512), 0);
	assert_true(qcow2_image_find_extension(image, 0x11111111, &data));
}

static void huge_lengths_are_cut(void **state)
{
	struct qcow2_extension e;

	(void)state;
	put_header(bytes, 0);
	put_mark(bytes + 104, 0x11111111, 0xffffffff);
	assert_int_equal(try_bytes(512), 0);
	assert_true(q2_find_extension(image, 0x11111111, &e));
	assert_true(e.cut);
	assert_int_equal(e.data.size, 512 - 112);
	put_be(bytes + 100, 4, 0xffffffff);
	assert_int_equal(try_bytes(512), 0);
	assert_false(q2_find_extension(image, 0x11111111, &e));
}

static void extensions_that_fill_the_area(void **state)
{
	struct qcow2_extensions *it = NULL;
	const struct qcow2_extension *e = NULL;
	unsigned count = 0;

	(void)state;
	put_header(bytes, 0);
	for (size_t at = 104; at < 512; at += 8)
		put_mark(bytes + at, 1, 0);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_extensions_open(image, &it, &err), 0);
	while (qcow2_extensions_next(it, &e))
		count++;
	assert_int_equal(count, 51);
	assert_false(qcow2_extensions_terminated(it));
	assert_int_equal(qcow2_extensions_at_bytes(it), 512);
	qcow2_extensions_close(it);
}

static void luks_header(void **state)
{
	uint8_t raw[16];
	uint64_t offset = 0;

	(void)state;
	put_header(bytes, 0);
	assert_int_equal(try_bytes(1024), 0);
	assert_int_equal(qcow2_image_read_luks(image, raw, 16, &offset, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);
	put_mark(bytes + 104, QCOW2_EXTENSION_CRYPTO, 15);
	assert_int_equal(try_bytes(1024), 0);
	assert_int_equal(qcow2_image_read_luks(image, raw, 16, &offset, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);

	put_mark(bytes + 104, QCOW2_EXTENSION_CRYPTO, 16);
	put_be(bytes + 112, 8, 512);
	memcpy(bytes + 512, "LUKS\xba\xbe", 6);
	assert_int_equal(try_bytes(518), 0);
	memset(raw, 0xff, sizeof(raw));
	assert_int_equal(qcow2_image_read_luks(image, raw, 16, &offset, &err), 0);
	assert_int_equal(offset, 512);
	assert_memory_equal(raw, "LUKS\xba\xbe\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(try_bytes(512), 0);
	assert_int_equal(qcow2_image_read_luks(image, raw, 16, &offset, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	put_be(bytes + 112, 8, UINT64_MAX);
	assert_int_equal(try_bytes(1024), 0);
	assert_int_equal(qcow2_image_read_luks(image, raw, 16, &offset, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
}

static void version_is_that_of_the_header(void **state)
{
	int major, minor, patch;

	(void)state;
	assert_int_equal(sscanf(qcow2_version(), "%d.%d.%d", &major, &minor, &patch), 3);
	assert_int_equal(major, QCOW2_VERSION_MAJOR);
	assert_int_equal(minor, QCOW2_VERSION_MINOR);
	assert_int_equal(patch, QCOW2_VERSION_PATCH);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(what_is_no_image),
		TEST(unknown_versions_are_unsupported),
		TEST(file_that_ends_inside_the_header_is_broken),
		TEST(version_2_has_fixed_values),
		TEST(geometry_of_small_clusters),
		TEST(geometry_of_extended_l2),
		TEST(insane_numbers_leave_no_geometry),
		TEST(backing_name_is_cut),
		TEST(extensions_in_order),
		TEST(extensions_of_version_2),
		TEST(backing_name_ends_the_extensions),
		TEST(huge_lengths_are_cut),
		TEST(extensions_that_fill_the_area),
		TEST(luks_header),
		TEST(version_is_that_of_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
