/* SPDX-License-Identifier: MIT */
/* The rules of a LUKS header inside an image, as far as the header itself shows. */
#include "check/rules.h"

#include <string.h>

#define SLOTS         8
#define SLOTS_AT      208
#define SLOT_BYTES    48
#define SLOT_ACTIVE   0x00ac71f3
#define SLOT_INACTIVE 0x0000dead
#define SECTOR_BYTES  512

static void complain(const struct qcow2_reporter *reporter, struct qcow2_finding finding,
		     const char *field)
{
	finding.has_found = true;
	qcow2_report(reporter, &finding, "luks/%s", field);
}

/* Key material lies inside the area that the encryption header pointer names. */
static void rule_slot(const struct qcow2_image *image, const uint8_t *raw, unsigned i,
		      uint64_t offset_bytes, const struct qcow2_reporter *reporter)
{
	struct qcow2_luks1_key_slot slot;
	struct qcow2_luks1 luks;
	struct qcow2_crypto_extension crypto = {0, UINT64_MAX};
	struct qcow2_extension extension;
	char field[32] = "key_slots/0";
	struct qcow2_finding finding = {.id = QCOW2_PROBLEM_LUKS_KEY_SLOT,
					.offset_bytes = offset_bytes + SLOTS_AT + i * SLOT_BYTES};

	field[strlen(field) - 1] = (char)('0' + i);
	qcow2_luks1_key_slot_decode(&slot, raw + SLOTS_AT + (size_t)i * SLOT_BYTES, SLOT_BYTES);
	if (qcow2_image_find_extension(image, QCOW2_EXTENSION_CRYPTO, &extension))
		qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	finding.found = slot.active;
	if (slot.active != SLOT_ACTIVE && slot.active != SLOT_INACTIVE) {
		complain(reporter, finding, field);
		return;
	}
	finding.found = slot.key_material_offset;
	finding.offset_bytes += 40;
	finding.expectation = QCOW2_EXPECT_AT_MOST;
	finding.expected = crypto.length / SECTOR_BYTES;
	if (slot.active != SLOT_ACTIVE)
		return;
	if (slot.key_material_offset > finding.expected) {
		complain(reporter, finding, field);
		return;
	}
	/* Each stripe is as long as the key. */
	qcow2_luks1_decode(&luks, raw, SLOTS_AT);
	finding.found = slot.stripes;
	finding.offset_bytes += 4;
	finding.expected =
		luks.key_bytes == 0
			? UINT64_MAX
			: (crypto.length - slot.key_material_offset * (uint64_t)SECTOR_BYTES) /
				  luks.key_bytes;
	if (finding.found > finding.expected)
		complain(reporter, finding, field);
}

void qcow2_rules_luks(const struct qcow2_image *image, const uint8_t *raw, size_t size_bytes,
		      uint64_t offset_bytes, const struct qcow2_reporter *reporter)
{
	static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
	struct qcow2_luks1 luks;

	qcow2_luks1_decode(&luks, raw, size_bytes);
	if (memcmp(luks.magic, magic, sizeof(magic)) != 0) {
		qcow2_report(reporter,
			     &(struct qcow2_finding){.id = QCOW2_PROBLEM_LUKS_MAGIC,
						     .offset_bytes = offset_bytes},
			     "luks/magic");
		return;
	}
	if (luks.version != 1)
		complain(reporter,
			 (struct qcow2_finding){.id = luks.version == 2
							      ? QCOW2_PROBLEM_LUKS_VERSION_QEMU
							      : QCOW2_PROBLEM_LUKS_VERSION,
						.offset_bytes = offset_bytes + 6,
						.found = luks.version,
						.expectation = QCOW2_EXPECT_VALUE,
						.expected = 1},
			 "version");
	if (luks.version == 1 && size_bytes >= SLOTS_AT + SLOTS * SLOT_BYTES)
		for (unsigned i = 0; i < SLOTS; i++)
			rule_slot(image, raw, i, offset_bytes, reporter);
}
