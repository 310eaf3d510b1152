/* SPDX-License-Identifier: MIT */
/* Which kind a file is: each signature, at the end of the file and one byte short of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <qcow2/qcow2.h>

/* The kind of a file of `size` zeros that has `bytes` at `at`. */
static unsigned kind_with(size_t size, size_t at, const char *bytes, size_t bytes_size)
{
	const struct qcow2_file_kind *kind;
	struct qcow2_source *source;
	struct qcow2_error err;
	uint8_t *data = calloc(1, size + 1);

	assert_non_null(data);
	assert_true(at <= size);
	memcpy(data + at, bytes, bytes_size < size - at ? bytes_size : size - at);
	assert_int_equal(qcow2_source_from_memory(data, size, &source, &err), 0);
	assert_int_equal(qcow2_probe(source, &kind, &err), 0);
	qcow2_source_close(source);
	free(data);
	return kind->number;
}

static const struct {
	size_t at;
	const char *bytes;
	size_t size;
	unsigned kind;
} signatures[] = {
	{0, "QFI\xfb\0\0\0\1", 8, QCOW2_FILE_QCOW},
	{0, "KDMV", 4, QCOW2_FILE_VMDK},
	{0, "COWD", 4, QCOW2_FILE_VMDK},
	{0, "# Disk DescriptorFile", 21, QCOW2_FILE_VMDK},
	{0, "#\n\r\n version=3\r\n", 16, QCOW2_FILE_VMDK},
	{64, "\x7f\x10\xda\xbe", 4, QCOW2_FILE_VDI},
	{0, "vhdxfile", 8, QCOW2_FILE_VHDX},
	{0, "conectix", 8, QCOW2_FILE_VHD},
	{0, "QED\0", 4, QCOW2_FILE_QED},
	{0, "WithoutFreeSpace\2\0\0\0", 20, QCOW2_FILE_PARALLELS},
	{0, "WithouFreSpacExt\2\0\0\0", 20, QCOW2_FILE_PARALLELS},
	{0, "LUKS\xba\xbe\0\1", 8, QCOW2_FILE_LUKS},
	{0, "LUKS\xba\xbe\0\2", 8, QCOW2_FILE_LUKS2},
	{0, "\x1f\x8b\x08", 3, QCOW2_FILE_GZIP},
	{0, "\xfd\x37zXZ\0", 6, QCOW2_FILE_XZ},
	{0, "\x28\xb5\x2f\xfd", 4, QCOW2_FILE_ZSTD},
	{0, "BZh91AY&SY", 10, QCOW2_FILE_BZIP2},
	{257, "ustar", 5, QCOW2_FILE_TAR},
	{510, "\x55\xaa", 2, QCOW2_FILE_DISK},
	{0x8001, "CD001", 5, QCOW2_FILE_ISO9660},
};

static void test_signatures(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
		size_t end = signatures[i].at + signatures[i].size;

		assert_int_equal(
			kind_with(end, signatures[i].at, signatures[i].bytes, signatures[i].size),
			signatures[i].kind);
		assert_int_not_equal(kind_with(end - 1, signatures[i].at, signatures[i].bytes,
					       signatures[i].size),
				     signatures[i].kind);
	}
}

static void test_what_has_no_signature(void **state)
{
	(void)state;
	assert_int_equal(kind_with(0, 0, "", 0), QCOW2_FILE_EMPTY);
	assert_int_equal(kind_with(1, 0, "", 0), QCOW2_FILE_ZEROS);
	assert_int_equal(kind_with(1 << 20, 0, "", 0), QCOW2_FILE_ZEROS);
	/* what lies behind the first 64 KiB is not looked at, and what lies in them is */
	assert_int_equal(kind_with(1 << 20, 65536, "x", 1), QCOW2_FILE_ZEROS);
	assert_int_equal(kind_with(1 << 20, 65535, "x", 1), QCOW2_FILE_UNKNOWN);
	assert_int_equal(kind_with(8, 0, "QFI\xfb\0\0\0\4", 8), QCOW2_FILE_QCOW2);
	assert_int_equal(kind_with(4, 0, "QFI\xfb", 4), QCOW2_FILE_QCOW2);
}

static void test_footers(void **state)
{
	(void)state;
	assert_int_equal(kind_with(1024, 512, "conectix", 8), QCOW2_FILE_VHD_FIXED);
	assert_int_equal(kind_with(1023, 512, "conectix", 8), QCOW2_FILE_VHD_FIXED);
	assert_int_equal(kind_with(1025, 512, "conectix", 8), QCOW2_FILE_UNKNOWN);
	assert_int_equal(kind_with(1024, 512, "koly", 4), QCOW2_FILE_DMG);
	/* with a start that is known, the end says nothing */
	assert_int_equal(kind_with(512, 0, "conectix", 8), QCOW2_FILE_VHD);
}

/* Every kind can be found by its number, and has all that messages need. */
static void test_kinds(void **state)
{
	unsigned count = 0;

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const struct qcow2_file_kind *kind = qcow2_file_kind_get(i);

		if (!kind)
			continue;
		count++;
		assert_int_equal(kind->number, i);
		assert_int_equal(kind->size, sizeof(*kind));
		assert_true(kind->id[0] && kind->qemu_format[0] && kind->name[0] && kind->advice);
	}
	assert_int_equal(count, 35);
	assert_null(qcow2_file_kind_get(~0U));
}

/* A budget that is used up is an error; opening then falls back on what it knows. */
static void test_budget(void **state)
{
	const struct qcow2_file_kind *kind;
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;
	static const uint8_t data[4096] = "KDMV";

	(void)state;
	assert_int_equal(qcow2_source_from_memory(data, sizeof(data), &source, &err), 0);
	qcow2_source_set_budget(source, 600);
	assert_int_equal(qcow2_probe(source, &kind, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	qcow2_source_set_budget(source, 600);
	assert_int_equal(qcow2_image_open(source, &image, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_QCOW2);
	qcow2_source_set_budget(source, UINT64_MAX);
	assert_int_equal(qcow2_image_open(source, &image, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_QCOW2);
	assert_non_null(strstr(err.text, "a vmdk image: convert it"));
	qcow2_source_close(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signatures), cmocka_unit_test(test_what_has_no_signature),
		cmocka_unit_test(test_footers),    cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
