/* SPDX-License-Identifier: MIT */
/*
 * The field tables and their engine: every field of every structure loads what was stored, stays in
 * its place, and agrees with the decoders; widths, bit ranges and names are as the specification
 * says.
 */
#include <qcow2/format.h>
#include <qcow2/problem.h>

#include "format/problems.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A value with distinct bytes, cut to what the field can hold. */
static uint64_t sample(const struct qcow2_field *field, size_t size, unsigned cluster_bits)
{
	uint8_t ones[512];

	memset(ones, 0xff, sizeof(ones));
	return qcow2_field_load(field, ones, size, cluster_bits) & UINT64_C(0x123456789abcdef5);
}

static void stored_fields_load_again(void **state)
{
	size_t count;
	const struct qcow2_structure *const *all = qcow2_structures(&count);

	(void)state;
	assert_true(count >= 17);
	for (size_t s = 0; s < count; s++) {
		for (size_t f = 0; f < all[s]->field_count; f++) {
			const struct qcow2_field *field = &all[s]->fields[f];
			uint8_t raw[512] = {0};

			if (field->width_bytes > 8)
				continue;
			for (unsigned bits = 9; bits <= 21; bits++) {
				uint64_t value = sample(field, all[s]->size_bytes, bits);

				memset(raw, 0, sizeof(raw));
				assert_true(qcow2_field_store(field, raw, all[s]->size_bytes, bits,
							      value));
				assert_true(qcow2_field_load(field, raw, all[s]->size_bytes,
							     bits) == value);
			}
		}
	}
}

/* Storing all ones in one field leaves every other field of the structure at zero. */
static void fields_do_not_overlap(void **state)
{
	size_t count;
	const struct qcow2_structure *const *all = qcow2_structures(&count);

	(void)state;
	for (size_t s = 0; s < count; s++) {
		for (size_t f = 0; f < all[s]->field_count; f++) {
			const struct qcow2_field *field = &all[s]->fields[f];
			uint8_t ones[512], raw[512] = {0};

			if (field->width_bytes > 8)
				continue;
			memset(ones, 0xff, sizeof(ones));
			assert_true(
				qcow2_field_store(field, raw, sizeof(raw), 16,
						  qcow2_field_load(field, ones, sizeof(ones), 16)));
			for (size_t g = 0; g < all[s]->field_count; g++)
				if (g != f)
					assert_true(qcow2_field_load(&all[s]->fields[g], raw,
								     sizeof(raw), 16) == 0);
		}
	}
}

static void fields_end_inside_their_structure(void **state)
{
	size_t count;
	const struct qcow2_structure *const *all = qcow2_structures(&count);

	(void)state;
	for (size_t s = 0; s < count; s++) {
		for (size_t f = 0; f < all[s]->field_count; f++) {
			const struct qcow2_field *field = &all[s]->fields[f];

			assert_true(field->offset_bytes + field->width_bytes <=
				    (int)all[s]->size_bytes);
			assert_non_null(field->meaning);
			assert_non_null(field->legal);
			assert_ptr_equal(qcow2_structure_field(all[s], field->name), field);
		}
		assert_ptr_equal(qcow2_structure_find(all[s]->name), all[s]);
	}
	assert_null(qcow2_structure_find("headers"));
	assert_null(qcow2_structure_field(&qcow2_header_structure, "nothing"));
	assert_ptr_equal(qcow2_structure_field(&qcow2_header_structure, "snapshots_offset"),
			 qcow2_structure_field(&qcow2_header_structure, "snapshot_offset"));
}

static void stores_refuse_what_does_not_fit(void **state)
{
	const struct qcow2_field *version =
		qcow2_structure_field(&qcow2_header_structure, "version");
	const struct qcow2_field *offset =
		qcow2_structure_field(&qcow2_l1_entry_structure, "offset");
	const struct qcow2_field *salt =
		qcow2_structure_field(&qcow2_luks1_key_slot_structure, "salt");
	uint8_t raw[64] = {0}, before[64] = {0};

	(void)state;
	assert_false(qcow2_field_store(version, raw, sizeof(raw), 16, UINT64_C(1) << 32));
	assert_false(qcow2_field_store(version, raw, 7, 16, 3));
	assert_false(qcow2_field_store(offset, raw, sizeof(raw), 16, 1));
	assert_false(qcow2_field_store(offset, raw, sizeof(raw), 16, UINT64_C(1) << 56));
	assert_false(qcow2_field_store(salt, raw, sizeof(raw), 16, 0));
	assert_memory_equal(raw, before, sizeof(raw));
	assert_true(qcow2_field_load(salt, raw, sizeof(raw), 16) == 0);
}

/* FORMAT: x = 62 - (cluster_bits - 8), so 61, 54 and 49 for cluster bits 9, 16 and 21. */
static void compressed_descriptors_split_by_cluster_size(void **state)
{
	static const struct {
		unsigned cluster_bits, x;
	} cases[] = {{9, 61}, {16, 54}, {21, 49}};
	const struct qcow2_structure *s = &qcow2_l2_compressed_structure;
	const struct qcow2_field *offset = qcow2_structure_field(s, "offset");
	const struct qcow2_field *sectors = qcow2_structure_field(s, "additional_sectors");

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t all = UINT64_C(0x3fffffffffffffff);

		assert_true(qcow2_field_of_entry(offset, all, cases[i].cluster_bits) ==
			    (UINT64_C(1) << cases[i].x) - 1);
		assert_true(qcow2_field_of_entry(sectors, all, cases[i].cluster_bits) ==
			    (UINT64_C(1) << (62 - cases[i].x)) - 1);
	}
}

static void entry_masks_are_those_of_the_specification(void **state)
{
	static const struct {
		const struct qcow2_structure *structure;
		const char *field;
		uint64_t expected;
	} cases[] = {
		{&qcow2_l1_entry_structure, "offset", UINT64_C(0x00fffffffffffe00)},
		{&qcow2_l2_entry_structure, "offset", UINT64_C(0x00fffffffffffe00)},
		{&qcow2_bitmap_table_entry_structure, "offset", UINT64_C(0x00fffffffffffe00)},
		{&qcow2_refcount_table_entry_structure, "offset", UINT64_C(0xfffffffffffffe00)},
		{&qcow2_l1_entry_structure, "copied", 1},
		{&qcow2_l2_entry_structure, "zero", 1},
		{&qcow2_l2_subclusters_structure, "allocated", UINT32_MAX},
		{&qcow2_l2_subclusters_structure, "zeroes", UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct qcow2_field *field =
			qcow2_structure_field(cases[i].structure, cases[i].field);

		assert_non_null(field);
		assert_true(qcow2_field_of_entry(field, UINT64_MAX, 16) == cases[i].expected);
	}
}

/* Counting bytes: every byte has another value, so each field shows where it was read. */
static void decoders_agree_with_the_tables(void **state)
{
	uint8_t raw[112];
	struct qcow2_header h;

	(void)state;
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)i;
	qcow2_header_decode(&h, raw, sizeof(raw));
	assert_true(h.magic == 0x00010203);
	assert_true(h.version == 0x04050607);
	assert_true(h.backing_file_offset == UINT64_C(0x08090a0b0c0d0e0f));
	assert_true(h.backing_file_size == 0x10111213);
	assert_true(h.cluster_bits == 0x14151617);
	assert_true(h.size == UINT64_C(0x18191a1b1c1d1e1f));
	assert_true(h.crypt_method == 0x20212223);
	assert_true(h.l1_size == 0x24252627);
	assert_true(h.l1_table_offset == UINT64_C(0x28292a2b2c2d2e2f));
	assert_true(h.refcount_table_offset == UINT64_C(0x3031323334353637));
	assert_true(h.refcount_table_clusters == 0x38393a3b);
	assert_true(h.nb_snapshots == 0x3c3d3e3f);
	assert_true(h.snapshot_offset == UINT64_C(0x4041424344454647));
	assert_true(h.incompatible_features == UINT64_C(0x48494a4b4c4d4e4f));
	assert_true(h.compatible_features == UINT64_C(0x5051525354555657));
	assert_true(h.autoclear_features == UINT64_C(0x58595a5b5c5d5e5f));
	assert_true(h.refcount_order == 0x60616263);
	assert_true(h.header_length == 0x64656667);
	assert_true(h.compression_type == 0x68);
}

static void version_2_headers_have_fixed_values(void **state)
{
	uint8_t raw[112];
	struct qcow2_header h;

	(void)state;
	memset(raw, 0xff, sizeof(raw));
	memcpy(raw + 4, "\0\0\0\2", 4);
	qcow2_header_decode(&h, raw, sizeof(raw));
	assert_true(h.incompatible_features == 0 && h.compatible_features == 0);
	assert_true(h.autoclear_features == 0);
	assert_int_equal(h.refcount_order, 4);
	assert_int_equal(h.header_length, 72);
	assert_int_equal(h.compression_type, 0);
}

static void missing_bytes_decode_as_zeros(void **state)
{
	uint8_t raw[8] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
	struct qcow2_header h;
	struct qcow2_luks1 luks;

	(void)state;
	qcow2_header_decode(&h, raw, sizeof(raw));
	assert_true(h.magic == 0x514649fb && h.version == 3 && h.size == 0);
	qcow2_luks1_decode(&luks, raw, 3);
	assert_int_equal(luks.magic[2], 'I');
	assert_int_equal(luks.magic[3], 0);
	assert_int_equal(luks.key_bytes, 0);
}

static void names_are_found(void **state)
{
	(void)state;
	assert_string_equal(qcow2_names_find(&qcow2_extension_types, 0x23852875), "Bitmaps");
	assert_string_equal(qcow2_names_find(&qcow2_bitmap_flags, 1), "auto");
	assert_null(qcow2_names_find(&qcow2_bitmap_flags, 3));
	assert_null(qcow2_names_find(NULL, 0));
}

static bool is_id(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static void problems_have_ids_of_their_own(void **state)
{
	const struct qcow2_problem_kind *kind = NULL;
	unsigned count = 0;

	(void)state;
	while ((kind = qcow2_problem_kind_next(kind))) {
		assert_true(is_id(kind->id));
		assert_ptr_equal(qcow2_problem_kind_find(kind->id), kind);
		assert_ptr_equal(qcow2_problem_kind_get(kind->number), kind);
		assert_true(strlen(kind->text) > 10 && strlen(kind->section) > 3);
		count++;
	}
	assert_true(count > 100 && count < Q2_PROBLEM_NUMBERS);
	assert_null(qcow2_problem_kind_get(QCOW2_PROBLEM_NONE));
	assert_null(qcow2_problem_kind_get(Q2_PROBLEM_NUMBERS));
	assert_null(qcow2_problem_kind_find("header"));
	assert_string_equal(qcow2_severity_name(QCOW2_WARNING), "warning");
	assert_string_equal(qcow2_severity_name(QCOW2_LEAK), "leak");
	assert_string_equal(qcow2_severity_name(QCOW2_CORRUPTION), "corruption");
	assert_string_equal(qcow2_severity_name((enum qcow2_severity)9), "unknown");
	assert_string_equal(qcow2_damage_name(QCOW2_DAMAGE_NONE), "none");
	assert_string_equal(qcow2_damage_name(QCOW2_DAMAGE_AT_RISK), "at-risk");
	assert_string_equal(qcow2_damage_name(QCOW2_DAMAGE_UNREADABLE), "unreadable");
	assert_string_equal(qcow2_damage_name(QCOW2_DAMAGE_LOST), "lost");
	assert_string_equal(qcow2_damage_name((enum qcow2_damage)9), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stored_fields_load_again),
		cmocka_unit_test(fields_do_not_overlap),
		cmocka_unit_test(fields_end_inside_their_structure),
		cmocka_unit_test(stores_refuse_what_does_not_fit),
		cmocka_unit_test(compressed_descriptors_split_by_cluster_size),
		cmocka_unit_test(entry_masks_are_those_of_the_specification),
		cmocka_unit_test(decoders_agree_with_the_tables),
		cmocka_unit_test(version_2_headers_have_fixed_values),
		cmocka_unit_test(missing_bytes_decode_as_zeros),
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(problems_have_ids_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
