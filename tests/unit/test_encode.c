/* SPDX-License-Identifier: MIT */
/*
 * Encoders of whole structures: decode(encode(x)) == x for each field of each structure, encode
 * gives back the bytes that were decoded, and nothing outside of whole fields is written.
 */
#include <qcow2/format.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS    500
#define RAW_BYTES 640 /* more than any structure has */

static void fill_random(uint64_t *seed, uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		*seed ^= *seed << 13;
		*seed ^= *seed >> 7;
		*seed ^= *seed << 17;
		bytes[i] = (uint8_t)(*seed >> 32);
	}
}

/* Whether a field of the structure has that byte and ends within size bytes. */
static bool is_of_field(const struct qcow2_structure *structure, size_t byte, size_t size)
{
	for (size_t i = 0; i < structure->field_count; i++) {
		const struct qcow2_field *field = &structure->fields[i];
		size_t end = (size_t)field->offset_bytes + field->width_bytes;

		if (byte >= field->offset_bytes && byte < end)
			return end <= size;
	}
	return false;
}

/* Bytes of whole fields come from the encoder and equal those decoded; all others stay. */
static void compare_bytes(const struct qcow2_structure *structure, const uint8_t *decoded,
			  const uint8_t *before, const uint8_t *encoded, size_t size)
{
	for (size_t i = 0; i < RAW_BYTES; i++)
		assert_int_equal(encoded[i],
				 is_of_field(structure, i, size) ? decoded[i] : before[i]);
}

#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)                            \
	assert_true(one.name == other.name);
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	assert_true(one.name == other.name);
#define QCOW2_FB(size, name, offset, style, legal, meaning)                                        \
	assert_memory_equal(one.name, other.name, size);

/* A test of one structure; adjust makes random bytes such that a decode takes them as they are. */
#define ROUND_TRIP(id, tag, structure, adjust)                                                     \
	static void id##_survives(void **state)                                                    \
	{                                                                                          \
		const size_t whole = (structure)->size_bytes;                                      \
		uint8_t raw[RAW_BYTES], before[RAW_BYTES], encoded[RAW_BYTES];                     \
		uint64_t seed = 14;                                                                \
		struct tag one, other;                                                             \
                                                                                                   \
		(void)state;                                                                       \
		for (unsigned i = 0; i < ROUNDS; i++) {                                            \
			size_t size = i % (whole + 1);                                             \
                                                                                                   \
			fill_random(&seed, raw, sizeof(raw));                                      \
			fill_random(&seed, before, sizeof(before));                                \
			adjust;                                                                    \
			qcow2_##id##_decode(&one, raw, whole);                                     \
			memcpy(encoded, before, sizeof(encoded));                                  \
			qcow2_##id##_encode(&one, encoded, whole);                                 \
			compare_bytes(structure, raw, before, encoded, whole);                     \
			qcow2_##id##_decode(&other, encoded, whole);                               \
			compare_##id(one, other);                                                  \
			memcpy(encoded, before, sizeof(encoded));                                  \
			qcow2_##id##_encode(&one, encoded, size);                                  \
			compare_bytes(structure, raw, before, encoded, size);                      \
		}                                                                                  \
	}

static void compare_header(struct qcow2_header one, struct qcow2_header other)
{
#include <qcow2/def/header.def>
}

static void compare_extension_header(struct qcow2_extension_header one,
				     struct qcow2_extension_header other)
{
#include <qcow2/def/extension.def>
}

#define QCOW2_FIELDS_BEGIN(name)                                                                   \
	static void compare_##name(struct qcow2_##name one, struct qcow2_##name other)             \
	{
#define QCOW2_FIELDS_END(name, title, section, meaning) }
#include <qcow2/def/extensions.def>

static void compare_feature_name(struct qcow2_feature_name one, struct qcow2_feature_name other)
{
#include <qcow2/def/feature_name.def>
}

static void compare_bitmap_dir_entry(struct qcow2_bitmap_dir_entry one,
				     struct qcow2_bitmap_dir_entry other)
{
#include <qcow2/def/bitmap_dir_entry.def>
}

static void compare_snapshot_header(struct qcow2_snapshot_header one,
				    struct qcow2_snapshot_header other)
{
#include <qcow2/def/snapshot.def>
}

static void compare_snapshot_extra(struct qcow2_snapshot_extra one,
				   struct qcow2_snapshot_extra other)
{
#include <qcow2/def/snapshot_extra.def>
}

static void compare_luks1(struct qcow2_luks1 one, struct qcow2_luks1 other)
{
#include <qcow2/def/luks1.def>
}

static void compare_luks1_key_slot(struct qcow2_luks1_key_slot one,
				   struct qcow2_luks1_key_slot other)
{
#include <qcow2/def/luks1_key_slot.def>
}

static void compare_luks2(struct qcow2_luks2 one, struct qcow2_luks2 other)
{
#include <qcow2/def/luks2.def>
}

/* Version 3, and a header_length that reaches past the compression type. */
static void adjust_header(uint8_t *raw)
{
	const struct qcow2_structure *s = &qcow2_header_structure;

	assert_true(qcow2_field_store(qcow2_structure_field(s, "version"), raw, RAW_BYTES, 16, 3));
	assert_true(qcow2_field_store(qcow2_structure_field(s, "header_length"), raw, RAW_BYTES, 16,
				      112));
}

ROUND_TRIP(header, qcow2_header, &qcow2_header_structure, adjust_header(raw))
ROUND_TRIP(extension_header, qcow2_extension_header, &qcow2_extension_structure, )

/* From here on, only the names of the extensions' structures are wanted. */
#undef QCOW2_F
#undef QCOW2_FA
#undef QCOW2_FB
#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)
#define QCOW2_FB(size, name, offset, style, legal, meaning)
#define QCOW2_FIELDS_BEGIN(name) ROUND_TRIP(name, qcow2_##name, &qcow2_##name##_structure, )
#define QCOW2_FIELDS_END(name, title, section, meaning)
#include <qcow2/def/extensions.def>

ROUND_TRIP(feature_name, qcow2_feature_name, &qcow2_feature_name_structure, )
ROUND_TRIP(bitmap_dir_entry, qcow2_bitmap_dir_entry, &qcow2_bitmap_dir_entry_structure, )
ROUND_TRIP(snapshot_header, qcow2_snapshot_header, &qcow2_snapshot_structure, )
ROUND_TRIP(snapshot_extra, qcow2_snapshot_extra, &qcow2_snapshot_extra_structure, )
ROUND_TRIP(luks1, qcow2_luks1, &qcow2_luks1_structure, )
ROUND_TRIP(luks1_key_slot, qcow2_luks1_key_slot, &qcow2_luks1_key_slot_structure, )
ROUND_TRIP(luks2, qcow2_luks2, &qcow2_luks2_structure, )

/* "Header": a version 2 header has 72 bytes; header extensions follow at once. */
static void version_2_headers_end_early(void **state)
{
	const struct qcow2_header header = {.version = 2, .size = 1, .incompatible_features = 1};
	uint8_t raw[112];

	(void)state;
	memset(raw, 0xee, sizeof(raw));
	qcow2_header_encode(&header, raw, sizeof(raw));
	assert_int_equal(raw[31], 1);
	assert_int_equal(raw[71], 0);
	for (size_t i = 72; i < sizeof(raw); i++)
		assert_int_equal(raw[i], 0xee);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_survives),
		cmocka_unit_test(extension_header_survives),
#define QCOW2_FIELDS_BEGIN(name) cmocka_unit_test(name##_survives),
#define QCOW2_FIELDS_END(name, title, section, meaning)
#include <qcow2/def/extensions.def>
		cmocka_unit_test(feature_name_survives),
		cmocka_unit_test(bitmap_dir_entry_survives),
		cmocka_unit_test(snapshot_header_survives),
		cmocka_unit_test(snapshot_extra_survives),
		cmocka_unit_test(luks1_survives),
		cmocka_unit_test(luks1_key_slot_survives),
		cmocka_unit_test(luks2_survives),
		cmocka_unit_test(version_2_headers_end_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
