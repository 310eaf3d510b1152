/* SPDX-License-Identifier: MIT */
/*
 * The rules of a LUKS header inside an image, as far as the header itself shows: those of the LUKS
 * on-disk format for version 1, and what QEMU demands. Nothing is decrypted, so that a wrong key or
 * damaged key material is not found. Of version 2, only the version is told.
 */
#include "rules/rules.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "image/extensions.h"

#include <qcow2/limits.h>
#include <qcow2/luks.h>

#define SLOTS_AT   sizeof(struct qcow2_luks1)
#define SLOT_BYTES sizeof(struct qcow2_luks1_key_slot)
/* Where a field of the header, or of a key slot, is. */
#define AT(field)      offsetof(struct qcow2_luks1, field)
#define SLOT_AT(field) offsetof(struct qcow2_luks1_key_slot, field)
#define NAME_BYTES     sizeof(((struct qcow2_luks1 *)NULL)->cipher_name)

/* The LUKS header that is looked at. */
struct context {
	struct q2_disk disk;
	const struct q2_reporter *reporter;
	const uint8_t *raw;
	uint64_t offset_bytes;
	uint64_t area_sectors; /* that the encryption header pointer names */
	struct qcow2_luks1 luks;
	struct qcow2_luks1_key_slot slots[QCOW2_LUKS1_SLOTS];
};

/* finding.offset_bytes counts from the start of the LUKS header. */
static void complain(const struct context *c, struct q2_finding finding, const char *field)
{
	finding.offset_bytes += c->offset_bytes;
	q2_concern_disk(&finding, &c->disk);
	q2_report(c->reporter, &finding, "luks/%s", field);
}

struct range {
	uint64_t least, most;
};

/* Whether finding.found is between two bounds; complains if it is not. */
static bool rule_range(const struct context *c, struct q2_finding finding, uint64_t least,
		       uint64_t most, const char *field)
{
	if (finding.found >= least && finding.found <= most)
		return true;
	finding.has_found = true;
	finding.expectation = finding.found < least ? QCOW2_EXPECT_AT_LEAST : QCOW2_EXPECT_AT_MOST;
	finding.expected = finding.found < least ? least : most;
	complain(c, finding, field);
	return false;
}

/* Whether a field has printable ASCII without blanks that ends with a NUL inside the field. */
static bool is_name(const uint8_t *field)
{
	size_t length = 0;

	while (length < NAME_BYTES && field[length] > ' ' && field[length] < 0x7f)
		length++;
	return length > 0 && length < NAME_BYTES && field[length] == 0;
}

/* The name in a field, up to its end if it has one. */
static struct qcow2_bytes name_in(const uint8_t *field)
{
	const uint8_t *end = memchr(field, 0, NAME_BYTES);

	return (struct qcow2_bytes){field, end ? (size_t)(end - field) : NAME_BYTES};
}

static void rule_names(const struct context *c)
{
	static const struct {
		const char *field;
		size_t at;
	} names[] = {{"cipher_name", AT(cipher_name)},
		     {"cipher_mode", AT(cipher_mode)},
		     {"hash_spec", AT(hash_spec)}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!is_name(c->raw + names[i].at))
			complain(c,
				 (struct q2_finding){.id = QCOW2_PROBLEM_LUKS_CIPHER,
						     .offset_bytes = names[i].at,
						     .found_text = name_in(c->raw + names[i].at)},
				 names[i].field);
}

static void rule_master_key(const struct context *c)
{
	rule_range(c,
		   (struct q2_finding){.id = QCOW2_PROBLEM_LUKS_MASTER_KEY,
				       .offset_bytes = AT(key_bytes),
				       .found = c->luks.key_bytes},
		   1, QCOW2_LIMIT_QEMU_LUKS_KEY_BYTES, "key_bytes");
	rule_range(c,
		   (struct q2_finding){.id = QCOW2_PROBLEM_LUKS_MASTER_KEY,
				       .offset_bytes = AT(mk_digest_iter),
				       .found = c->luks.mk_digest_iter},
		   1, UINT32_MAX, "mk_digest_iter");
	rule_range(c,
		   (struct q2_finding){.id = QCOW2_PROBLEM_LUKS_PAYLOAD,
				       .offset_bytes = AT(payload_offset),
				       .found = c->luks.payload_offset},
		   QCOW2_LIMIT_QEMU_LUKS_HEADER_SECTORS_MIN, UINT32_MAX, "payload_offset");
}

/* Sectors of a slot's key material: each stripe is as long as the key. */
static uint64_t material_sectors(const struct context *c, const struct qcow2_luks1_key_slot *slot)
{
	return q2_div_ceil_u64((uint64_t)c->luks.key_bytes * slot->stripes,
			       QCOW2_LUKS_SECTOR_BYTES);
}

static uint64_t slot_at(unsigned i)
{
	return SLOTS_AT + i * (uint64_t)SLOT_BYTES;
}

/* A field of slot i: its place and its value. */
static struct q2_finding slot_finding(unsigned i, uint64_t at, uint64_t found)
{
	return (struct q2_finding){.id = QCOW2_PROBLEM_LUKS_KEY_SLOT,
				   .offset_bytes = slot_at(i) + at,
				   .has_found = true,
				   .found = found};
}

static void complain_slot(const struct context *c, unsigned i, struct q2_finding finding,
			  const char *field)
{
	char path[48];

	snprintf(path, sizeof(path), "key-slots/%u/%s", i, field);
	complain(c, finding, path);
}

/* As rule_range(), of a field of slot i. */
static bool rule_slot_range(const struct context *c, unsigned i, struct q2_finding finding,
			    struct range range, const char *field)
{
	char path[48];

	snprintf(path, sizeof(path), "key-slots/%u/%s", i, field);
	return rule_range(c, finding, range.least, range.most, path);
}

/* Key material lies behind the header, inside the area, and apart from that of other slots. */
static void rule_material(const struct context *c, unsigned i)
{
	static const char field[] = "key_material_offset";
	const struct qcow2_luks1_key_slot *slot = &c->slots[i];
	uint64_t start = slot->key_material_offset, size = material_sectors(c, slot);
	struct q2_finding finding = slot_finding(i, SLOT_AT(key_material_offset), start);
	bool fits = size <= c->area_sectors;

	if (!rule_slot_range(
		    c, i, finding,
		    (struct range){QCOW2_LIMIT_QEMU_LUKS_HEADER_SECTORS_MIN, c->area_sectors},
		    field))
		return;
	if (!fits || start > c->area_sectors - size) {
		/* An area that is shorter than the material has no place that would do. */
		finding.expectation = fits ? QCOW2_EXPECT_AT_MOST : QCOW2_EXPECT_NOTHING;
		finding.expected = fits ? c->area_sectors - size : 0;
		complain_slot(c, i, finding, field);
		return;
	}
	for (unsigned j = 0; j < i; j++) {
		const struct qcow2_luks1_key_slot *other = &c->slots[j];

		if (!q2_ranges_overlap(start, size, other->key_material_offset,
				       material_sectors(c, other)))
			continue;
		complain_slot(c, i, finding, field);
		return;
	}
}

/* The faults of one slot depend on each other: only the first is told. */
static void rule_slot(const struct context *c, unsigned i)
{
	const struct qcow2_luks1_key_slot *slot = &c->slots[i];

	if (slot->active != QCOW2_LUKS1_SLOT_ACTIVE && slot->active != QCOW2_LUKS1_SLOT_INACTIVE) {
		struct q2_finding finding = slot_finding(i, SLOT_AT(active), slot->active);

		finding.expectation = QCOW2_EXPECT_VALUE;
		finding.expected = QCOW2_LUKS1_SLOT_INACTIVE;
		complain_slot(c, i, finding, "active");
		return;
	}
	if (rule_slot_range(
		    c, i, slot_finding(i, SLOT_AT(stripes), slot->stripes),
		    (struct range){QCOW2_LIMIT_QEMU_LUKS_STRIPES, QCOW2_LIMIT_QEMU_LUKS_STRIPES},
		    "stripes") &&
	    (slot->active != QCOW2_LUKS1_SLOT_ACTIVE ||
	     rule_slot_range(c, i, slot_finding(i, SLOT_AT(iterations), slot->iterations),
			     (struct range){1, UINT32_MAX}, "iterations")))
		rule_material(c, i);
}

static void rule_slots(const struct context *c)
{
	bool any = false;

	for (unsigned i = 0; i < QCOW2_LUKS1_SLOTS; i++) {
		rule_slot(c, i);
		any |= c->slots[i].active == QCOW2_LUKS1_SLOT_ACTIVE;
	}
	if (!any)
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_LUKS_NO_KEY,
					     .offset_bytes = SLOTS_AT},
			 "key-slots");
}

static void rule_version_1(const struct qcow2_image *image, const uint8_t *raw,
			   uint64_t offset_bytes, const struct q2_reporter *reporter)
{
	struct context c = {.disk = {.size_bytes = qcow2_image_header(image)->size},
			    .reporter = reporter,
			    .raw = raw,
			    .offset_bytes = offset_bytes};
	struct qcow2_crypto_extension crypto = {0, UINT64_MAX};
	struct qcow2_extension extension;

	qcow2_luks1_decode(&c.luks, raw, SLOTS_AT);
	for (unsigned i = 0; i < QCOW2_LUKS1_SLOTS; i++)
		qcow2_luks1_key_slot_decode(&c.slots[i], raw + SLOTS_AT + (size_t)i * SLOT_BYTES,
					    SLOT_BYTES);
	if (q2_find_extension(image, QCOW2_EXTENSION_CRYPTO, &extension))
		qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	c.area_sectors = crypto.length / QCOW2_LUKS_SECTOR_BYTES;
	rule_names(&c);
	rule_master_key(&c);
	rule_slots(&c);
}

void q2_rules_luks(const struct qcow2_image *image, const uint8_t *raw, size_t size_bytes,
		   uint64_t offset_bytes, const struct q2_reporter *reporter)
{
	static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
	const struct q2_disk disk = {.size_bytes = qcow2_image_header(image)->size};
	struct qcow2_luks1 luks;

	qcow2_luks1_decode(&luks, raw, size_bytes);
	if (memcmp(luks.magic, magic, sizeof(magic)) != 0) {
		q2_report(reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_LUKS_MAGIC,
					       .offset_bytes = offset_bytes,
					       .found_text = {raw, sizeof(magic)},
					       .disk = &disk,
					       .guest = {0, disk.size_bytes}},
			  "luks/magic");
		return;
	}
	if (luks.version != 1) {
		struct q2_finding finding = {.id = luks.version == 2
							   ? QCOW2_PROBLEM_LUKS_VERSION_QEMU
							   : QCOW2_PROBLEM_LUKS_VERSION,
					     .offset_bytes = offset_bytes + AT(version),
					     .has_found = true,
					     .found = luks.version,
					     .expectation = QCOW2_EXPECT_VALUE,
					     .expected = 1};

		q2_concern_disk(&finding, &disk);
		q2_report(reporter, &finding, "luks/version");
	} else if (size_bytes >= SLOTS_AT + QCOW2_LUKS1_SLOTS * SLOT_BYTES)
		rule_version_1(image, raw, offset_bytes, reporter);
}
