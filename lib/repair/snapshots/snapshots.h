/* SPDX-License-Identifier: MIT */
/*
 * The snapshot table in memory ("Snapshots"), as the doctor of snapshots mends it. It is read once
 * a round, changed entry by entry, and written again: in place where the entries keep their sizes,
 * else whole, in free space.
 */
#ifndef Q2_REPAIR_SNAPSHOTS_H
#define Q2_REPAIR_SNAPSHOTS_H

#include "repair/repair.h"

/* Bytes of a table that are read at most; QEMU takes half of it. */
#define Q2_SNAPSHOTS_READ_MOST (UINT64_C(2) * QCOW2_LIMIT_QEMU_SNAPSHOT_TABLE_BYTES)

/* The fixed part of an entry. */
#define Q2_SNAPSHOT_BYTES sizeof(struct qcow2_snapshot_header)

/* An entry of the table. Its views are in the bytes of the table, or in memory of its own. */
struct q2_snapshot_entry {
	struct qcow2_snapshot_header header;
	struct qcow2_bytes extra, id, name;
	uint8_t own_extra[sizeof(struct qcow2_snapshot_extra)]; /* of extra data that are made */
	char own_id[24];                                        /* of an ID that is made */
	uint64_t at, size_bytes; /* where it was in the bytes of the table, and how long */
	uint64_t index;          /* in the table as it was read */
	bool refitted;           /* its lengths were wrong */
	bool dropped;
};

struct q2_snapshot_table {
	uint64_t offset_bytes; /* host offset that it was read from */
	uint8_t *bytes;
	uint64_t size_bytes; /* that were read */
	struct q2_snapshot_entry *entries;
	size_t count, capacity;
	uint64_t holes;   /* places of entries that hold nothing */
	bool is_reformed; /* entries were found elsewhere than the table says, or not at all */
	bool is_cut;      /* more of it than is read */
};

/* What the doctor knows in a round. */
struct q2_snapshot_notes {
	bool heard[Q2_PROBLEM_NUMBERS];
	struct q2_snapshot_table table;
	uint64_t new_l1_bytes; /* of L1 tables that this round makes */
	uint64_t *orphans;     /* host offsets of L2 tables that nothing leads to */
	size_t orphan_count, orphan_capacity;
	unsigned walks; /* through all claims, to find out about one cluster */
};

/*
 * Reads the table at offset_bytes, count entries as the header says. Entries are found by structure
 * where lengths are wrong. Errors: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_snapshot_table_read(struct q2_repair *repair, uint64_t offset_bytes,
			   struct q2_snapshot_table *table);
void q2_snapshot_table_release(struct q2_snapshot_table *table);

/*
 * How much the bytes look like an entry: 0 for zeros, up to 6, one for each field that can be. An
 * entry with a single field damaged has Q2_SNAPSHOT_LIKELY or more.
 */
unsigned q2_snapshot_score(const struct q2_repair *repair, const struct q2_snapshot_table *table,
			   uint64_t at);
#define Q2_SNAPSHOT_LIKELY    5
#define Q2_SNAPSHOT_TOLERABLE 3

/* Decodes an entry whose fixed part is read; false if the table ends before the entry does. */
bool q2_snapshot_view(const struct q2_snapshot_table *table, uint64_t at,
		      struct q2_snapshot_entry *entry);

/*
 * Corrects the lengths of an entry that ends at `end`, or in front of it if that is the end of what
 * was read. False if there is nothing to go by.
 */
bool q2_snapshot_refit(const struct q2_repair *repair, const struct q2_snapshot_table *table,
		       struct q2_snapshot_entry *entry, uint64_t end);

/* Plans the table as it is in memory now: nothing if nothing was changed. */
int q2_snapshot_table_store(struct q2_repair *repair, struct q2_snapshot_table *table);

/* Marks what the options want dropped, and tells of each. */
int q2_snapshots_drop(struct q2_repair *repair, struct q2_snapshot_table *table);

/* Gives an ID to each entry whose ID was lost: no two may be the same. */
void q2_snapshots_name_nameless(struct q2_snapshot_table *table);

/* Mends the entries: fields, and then where the L1 tables are. */
int q2_snapshots_mend_fields(struct q2_repair *repair, struct q2_snapshot_notes *notes);
int q2_snapshots_mend_l1s(struct q2_repair *repair, struct q2_snapshot_notes *notes);

/* The size of an entry as it is written, with its padding. */
uint64_t q2_snapshot_stored_bytes(const struct q2_snapshot_entry *entry);

/* The size of the snapshot's disk; false if the entry does not say it, then that of the active. */
bool q2_snapshot_disk_size(const struct q2_repair *repair, const struct q2_snapshot_entry *entry,
			   uint64_t *size_bytes);

/* How many L1 entries the disk and the saved state of the machine need. */
uint64_t q2_snapshot_l1_needed(const struct q2_repair *repair,
			       const struct q2_snapshot_entry *entry);

/*
 * Tells a step about a snapshot, which it names: does is "snapshot 'NAME' (ID 1): " and the text.
 * guest_length_bytes 0: no part of the disk is concerned.
 */
struct q2_snapshot_step {
	enum qcow2_problem_id id;
	const char *field; /* of the entry; NULL: the entry itself */
	bool costs;
	uint64_t guest_byte, guest_length_bytes;
	enum qcow2_reads before, after;
};
int q2_snapshot_tell(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
		     const struct q2_snapshot_step *step, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
