/* SPDX-License-Identifier: MIT */
/*
 * The pointer to the LUKS header ("Full disk encryption header pointer"). What the guest of such an
 * image wrote is noise in the file, so that a LUKS header at a cluster boundary is that of the
 * image. Keys are never written.
 */
#include "repair/header/header.h"

#include <string.h>

#include "base/bytes.h"
#include "image/extensions.h"
#include "image/internal.h"

#include <qcow2/limits.h>
#include <qcow2/luks.h>

#define LUKS_BYTES  (sizeof(struct qcow2_luks1) + QCOW2_LUKS1_SLOTS * SLOT_BYTES)
#define SLOT_BYTES  sizeof(struct qcow2_luks1_key_slot)
#define LOOKS_MOST  65536 /* clusters that are looked at */
#define LENGTH_MOST (UINT64_C(64) << 20)

/* Where a LUKS header is, and how much of the file it needs. */
struct luks {
	uint64_t offset_bytes, length_bytes;
};

static uint64_t end_of_slots(const struct qcow2_luks1 *luks, const uint8_t *slots)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < QCOW2_LUKS1_SLOTS; i++) {
		struct qcow2_luks1_key_slot slot;
		uint64_t material;

		qcow2_luks1_key_slot_decode(&slot, slots + (size_t)i * SLOT_BYTES, SLOT_BYTES);
		material = (uint64_t)luks->key_bytes * QCOW2_LIMIT_QEMU_LUKS_STRIPES;
		material += (uint64_t)slot.key_material_offset * QCOW2_LUKS_SECTOR_BYTES;
		if (material > end)
			end = material;
	}
	return (end + QCOW2_LUKS_SECTOR_BYTES - 1) & ~(uint64_t)(QCOW2_LUKS_SECTOR_BYTES - 1);
}

/* Reads what is at an offset; *is_luks: a LUKS header of version 1, of which all is in the file. */
static int look(struct q2_repair *repair, const struct q2_head *head, struct luks *luks,
		bool *is_luks)
{
	static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1};
	const uint64_t file_bytes = qcow2_source_size_bytes(head->view);
	uint8_t raw[LUKS_BYTES];
	struct qcow2_luks1 fields;

	*is_luks = false;
	if (luks->offset_bytes == 0 || luks->offset_bytes >= file_bytes)
		return 0;
	if (q2_image_read_padded(head->image, luks->offset_bytes, raw, sizeof(raw), repair->err))
		return -1;
	if (memcmp(raw, magic, sizeof(magic)) != 0)
		return 0;
	qcow2_luks1_decode(&fields, raw, sizeof(fields));
	luks->length_bytes = end_of_slots(&fields, raw + sizeof(fields));
	if (fields.payload_offset * (uint64_t)QCOW2_LUKS_SECTOR_BYTES >= luks->length_bytes)
		luks->length_bytes = fields.payload_offset * (uint64_t)QCOW2_LUKS_SECTOR_BYTES;
	*is_luks = luks->length_bytes <= LENGTH_MOST &&
		   luks->length_bytes <= q2_image_readable_end(head->image) - luks->offset_bytes;
	return 0;
}

/* Searches the file; *count: how many LUKS headers there are, of which *luks is the first. */
static int search(struct q2_repair *repair, const struct q2_head *head, struct luks *luks,
		  unsigned *count)
{
	const uint64_t cluster = UINT64_C(1) << head->header->cluster_bits;
	const uint64_t end = qcow2_source_size_bytes(head->view);
	unsigned looks = 0;
	bool is_luks;

	*count = 0;
	for (uint64_t at = cluster; at < end && looks < LOOKS_MOST; at += cluster, looks++) {
		struct luks found = {at, 0};
		uint64_t hole = qcow2_source_hole_end(head->view, at);

		if (hole >= at + cluster) {
			at = (hole & ~(cluster - 1)) - cluster;
			continue;
		}
		if (look(repair, head, &found, &is_luks))
			return -1;
		if (is_luks && (*count)++ == 0)
			*luks = found;
	}
	return 0;
}

/* The pointer as it is: that of the first extension. */
static bool read_pointer(const struct q2_head *head, struct qcow2_extension *extension,
			 struct qcow2_crypto_extension *crypto)
{
	if (!q2_find_extension(head->image, QCOW2_EXTENSION_CRYPTO, extension) ||
	    extension->data.size < sizeof(*crypto))
		return false;
	qcow2_crypto_extension_decode(crypto, extension->data.data, extension->data.size);
	return true;
}

/*
 * Finds the LUKS header of the image: where the pointer leads, or the only one in the file.
 * length_bytes stays 0 if there is none, or more than one.
 */
static int find_luks(struct q2_repair *repair, const struct q2_head *head, struct luks *luks)
{
	const uint64_t cluster = UINT64_C(1) << head->header->cluster_bits;
	struct qcow2_extension extension;
	struct qcow2_crypto_extension crypto;
	unsigned count;
	bool is_luks = false;

	if (read_pointer(head, &extension, &crypto)) {
		luks->offset_bytes = crypto.offset;
		if (crypto.offset % cluster == 0 && look(repair, head, luks, &is_luks))
			return -1;
		if (is_luks)
			return 0;
	}
	*luks = (struct luks){0, 0};
	if (search(repair, head, luks, &count))
		return -1;
	if (count != 1)
		luks->length_bytes = 0;
	return 0;
}

/* Plans the pointer, with an extension of its own if there is none. */
static int plan_pointer(struct q2_repair *repair, const struct q2_head *head,
			const struct luks *luks)
{
	const struct qcow2_crypto_extension crypto = {luks->offset_bytes, luks->length_bytes};
	struct qcow2_extension extension;
	uint8_t raw[sizeof(crypto)];
	const struct qcow2_bytes data = {raw, sizeof(raw)};
	bool there = q2_find_extension(head->image, QCOW2_EXTENSION_CRYPTO, &extension);

	qcow2_crypto_extension_encode(&crypto, raw, sizeof(raw));
	if (q2_head_intend(repair, QCOW2_EXTENSION_CRYPTO))
		return -1;
	if (there && extension.data.size >= sizeof(raw))
		return q2_repair_write(repair, QCOW2_PHASE_POINT,
				       extension.offset_bytes +
					       sizeof(struct qcow2_extension_header),
				       data, "where the LUKS header is");
	return qcow2_edit_extension(repair->plan,
				    there ? QCOW2_EXTENSION_REPLACE : QCOW2_EXTENSION_ADD,
				    QCOW2_EXTENSION_CRYPTO, data, repair->err);
}

/* An image that is LUKS encrypted: its pointer has to lead to the LUKS header. */
static int mend_pointer(struct q2_repair *repair, const struct q2_head *head)
{
	static const enum qcow2_problem_id kinds[] = {
		QCOW2_PROBLEM_CRYPTO_MISSING, QCOW2_PROBLEM_CRYPTO_OFFSET,
		QCOW2_PROBLEM_CRYPTO_BEYOND_END, QCOW2_PROBLEM_LUKS_MAGIC,
		QCOW2_PROBLEM_EXTENSION_LENGTH};
	struct luks luks = {0, 0};
	size_t i = 0;

	while (i < 5 && !q2_has(repair, kinds[i]))
		i++;
	if (i == 5)
		return 0;
	if (find_luks(repair, head, &luks))
		return -1;
	if (luks.length_bytes == 0) {
		for (i = 0; i < 4; i++)
			q2_repair_leave(
				repair, kinds[i],
				"the file has no LUKS header that could be meant: restore it "
				"from a backup, without it nothing decrypts the data");
		return 0;
	}
	if (!q2_repair_may(repair, kinds[i], false))
		return 0;
	return plan_pointer(repair, head, &luks) ||
			       q2_head_tell_reads(repair, kinds[i], "extensions",
						  "points to the LUKS header, which is there",
						  QCOW2_READS_ERROR)
		       ? -1
		       : 0;
}

/* A pointer without its encryption method: a LUKS header says what the method was. */
static int mend_surplus(struct q2_repair *repair, const struct q2_head *head,
			enum qcow2_problem_id id)
{
	struct luks luks = {0, 0};

	if (!q2_repair_may(repair, id, false))
		return 0;
	if (find_luks(repair, head, &luks))
		return -1;
	if (luks.length_bytes > 0)
		return plan_pointer(repair, head, &luks) ||
				       q2_repair_write_number(repair, QCOW2_PHASE_POINT,
							      Q2_HEADER_AT(crypt_method), 2, 4,
							      "the image has a LUKS header") ||
				       q2_head_tell_reads(repair, id, "header/crypt_method",
							  "sets the encryption method to LUKS, "
							  "whose header is there",
							  QCOW2_READS_ERROR)
			       ? -1
			       : 0;
	if (id != QCOW2_PROBLEM_CRYPTO_SURPLUS)
		return 0;
	return qcow2_edit_extension(repair->plan, QCOW2_EXTENSION_REMOVE, QCOW2_EXTENSION_CRYPTO,
				    (struct qcow2_bytes){NULL, 0}, repair->err) ||
			       q2_head_tell(repair, id, "extensions",
					    "removes a pointer that leads to no LUKS header", false)
		       ? -1
		       : 0;
}

/* QEMU wants an offset behind the header, and does not use it otherwise. */
static int mend_payload(struct q2_repair *repair, const struct q2_head *head)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_LUKS_PAYLOAD;
	struct qcow2_crypto_extension crypto;
	struct qcow2_extension extension;
	uint64_t sectors;

	if (!read_pointer(head, &extension, &crypto) || !q2_repair_may(repair, id, false))
		return 0;
	sectors = crypto.length / QCOW2_LUKS_SECTOR_BYTES;
	if (sectors < QCOW2_LIMIT_QEMU_LUKS_HEADER_SECTORS_MIN || sectors > UINT32_MAX)
		sectors = 4096;
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT,
				      crypto.offset + offsetof(struct qcow2_luks1, payload_offset),
				      sectors, 4, "behind the LUKS header; nothing uses it") ||
			       q2_head_tell(repair, id, "luks/payload_offset",
					    "sets the payload offset behind the LUKS header", false)
		       ? -1
		       : 0;
}

static void leave_others(struct q2_repair *repair)
{
	static const enum qcow2_problem_id damaged[] = {
		QCOW2_PROBLEM_LUKS_VERSION, QCOW2_PROBLEM_LUKS_KEY_SLOT, QCOW2_PROBLEM_LUKS_CIPHER,
		QCOW2_PROBLEM_LUKS_MASTER_KEY, QCOW2_PROBLEM_LUKS_NO_KEY};

	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++)
		q2_repair_leave(repair, damaged[i],
				"keys are not guessed: restore the LUKS header from a backup");
	q2_repair_leave(repair, QCOW2_PROBLEM_LUKS_VERSION_QEMU,
			"QEMU knows version 1 of LUKS only; other programs read it");
}

int q2_header_mend_luks(struct q2_repair *repair)
{
	const bool unknown = q2_has(repair, QCOW2_PROBLEM_HEADER_CRYPT_METHOD);
	struct q2_head head;
	int failed;

	leave_others(repair);
	if (!repair->geometry)
		return 0;
	failed = q2_head_open(repair, &head);
	if (!failed && head.header->crypt_method == 2)
		failed = mend_pointer(repair, &head);
	else if (!failed && (unknown || q2_has(repair, QCOW2_PROBLEM_CRYPTO_SURPLUS)))
		failed = mend_surplus(repair, &head,
				      unknown ? QCOW2_PROBLEM_HEADER_CRYPT_METHOD
					      : QCOW2_PROBLEM_CRYPTO_SURPLUS);
	if (!failed && q2_has(repair, QCOW2_PROBLEM_LUKS_PAYLOAD))
		failed = mend_payload(repair, &head);
	q2_head_close(&head);
	return failed;
}
