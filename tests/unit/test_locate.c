/* SPDX-License-Identifier: MIT */
/*
 * Paths, pieces and fields of an image in memory whose layout is below: what they say was worked out
 * by hand. Then limits, and calls that make no sense.
 */
#include "image_fixture.h"

#include <qcow2/locate.h>

#include <stdio.h>

#define AT(cluster) ((uint64_t)(cluster)*CLUSTER)
#define COPIED      (UINT64_C(1) << 63)
#define CLUSTERS    14
#define DISK        (2 * 64 * CLUSTER)

/* Where everything is, as numbers of clusters of 512 bytes. */
enum {
	TABLE = 1,
	BLOCK,
	L1,
	L2,     /* active entry 0, and entry 0 of both snapshots */
	L2_OWN, /* active entry 1 */
	SNAPSHOT_L1,
	SNAPSHOTS,
	DATA,
	COMPRESSED, /* two of them in one sector */
	DATA_NEXT,  /* behind it in the guest and in the file is DATA_LAST, with another refcount */
	DATA_LAST,
	LEAKED,
	UNUSED,
};

static void put_entry(unsigned cluster, unsigned index, uint64_t entry)
{
	put_be(bytes + AT(cluster) + (size_t)index * 8, 8, entry);
}

static void put_refcount(unsigned cluster, unsigned refcount)
{
	put_be(bytes + AT(BLOCK) + (size_t)cluster * 2, 2, refcount);
}

static void make_image(void)
{
	put_header(bytes, DISK);
	put_be(bytes + 36, 4, 2);
	put_be(bytes + 40, 8, AT(L1));
	put_be(bytes + 48, 8, AT(TABLE));
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 60, 4, 2);
	put_be(bytes + 64, 8, AT(SNAPSHOTS));
	put_entry(TABLE, 0, AT(BLOCK));
	put_entry(L1, 0, AT(L2));
	put_entry(L1, 1, AT(L2_OWN) | COPIED);
	put_entry(SNAPSHOT_L1, 0, AT(L2));
	put_entry(L2, 3, AT(DATA));
	put_entry(L2, 4, UINT64_C(1) << 62 | (AT(COMPRESSED) + 10));
	put_entry(L2, 5, UINT64_C(1) << 62 | (AT(COMPRESSED) + 100));
	put_entry(L2_OWN, 0, AT(DATA_NEXT) | COPIED);
	put_entry(L2_OWN, 1, AT(DATA_LAST) | COPIED);
	put_entry(L2_OWN, 2, AT(100) | COPIED); /* past the end */
	for (unsigned i = 0; i < 2; i++) {
		put_snapshot(bytes + AT(SNAPSHOTS) + (size_t)i * 64, 1, 1, 16);
		put_be(bytes + AT(SNAPSHOTS) + (size_t)i * 64, 8, AT(SNAPSHOT_L1));
		put_be(bytes + AT(SNAPSHOTS) + (size_t)i * 64 + 8, 4, 1);
		/* The first one's disk ends within entry 4; the rest is the state of the machine. */
		put_be(bytes + AT(SNAPSHOTS) + (size_t)i * 64 + 48, 8, i ? DISK : 4 * CLUSTER + 7);
		memcpy(bytes + AT(SNAPSHOTS) + (size_t)i * 64 + 56, i ? "2b" : "1a", 2);
	}
	for (unsigned cluster = 0; cluster < LEAKED; cluster++)
		put_refcount(cluster, 1);
	put_refcount(L2, 3);
	put_refcount(DATA, 3);
	put_refcount(COMPRESSED, 6);
	put_refcount(DATA_LAST, 2);
	put_refcount(LEAKED, 7);
	open_bytes(AT(CLUSTERS));
}

/* ---- paths ---- */

static struct qcow2_paths *open_paths(const struct qcow2_snapshot *snapshot)
{
	struct qcow2_paths *paths;

	assert_int_equal(qcow2_paths_open(image, snapshot, &paths, &err), 0);
	return paths;
}

static const struct qcow2_path *path_at(struct qcow2_paths *paths, uint64_t byte, uint64_t length)
{
	const struct qcow2_path *path;

	qcow2_paths_seek(paths, (struct qcow2_guest){byte}, length);
	assert_int_equal(qcow2_paths_next(paths, &path, &err), 1);
	return path;
}

static void test_path(void **state)
{
	const struct qcow2_path *path;
	struct qcow2_paths *paths;

	(void)state;
	make_image();
	paths = open_paths(NULL);
	assert_int_equal(qcow2_paths_size_bytes(paths), DISK);
	path = path_at(paths, 3 * CLUSTER + 5, 1);
	assert_int_equal(path->size, sizeof(*path));
	assert_int_equal(path->extent->kind, QCOW2_L2_DATA);
	assert_int_equal(path->extent->host.byte, AT(DATA) + 5);
	assert_int_equal(path->extent->length_bytes, 1);
	assert_int_equal(path->l1_index, 0);
	assert_int_equal(path->l1_entry, AT(L2));
	assert_int_equal(path->l1_entry_at.byte, AT(L1));
	assert_int_equal(path->l2_index, 3);
	assert_int_equal(path->l2_table.byte, AT(L2));
	assert_false(path->past_end);
	assert_true(path->refcount->known);
	assert_int_equal(path->refcount->refcount, 3);
	assert_int_equal(path->refcount->table_entry, AT(BLOCK));
	assert_int_equal(path->refcount->table_entry_at.byte, AT(TABLE));
	assert_int_equal(path->refcount->refcount_at.byte, AT(BLOCK) + 2 * DATA);
	path = path_at(paths, 5 * CLUSTER, 1);
	assert_int_equal(path->extent->kind, QCOW2_L2_COMPRESSED);
	assert_int_equal(path->extent->host.byte, AT(COMPRESSED) + 100);
	assert_int_equal(path->refcount->refcount, 6);
	path = path_at(paths, 0, 1);
	assert_null(path->refcount);
	path = path_at(paths, (64 + 2) * CLUSTER, 1);
	assert_int_equal(path->extent->problem, QCOW2_PROBLEM_DATA_BEYOND_END);
	assert_null(path->refcount);
	qcow2_paths_seek(paths, (struct qcow2_guest){DISK}, 1);
	assert_int_equal(qcow2_paths_next(paths, &path, &err), 0);
	qcow2_paths_close(paths);
	qcow2_paths_close(NULL);
}

/* An extent ends where the refcount changes, and the entries are those of its own first byte. */
static void test_path_refcounts_differ(void **state)
{
	const struct qcow2_path *path;
	struct qcow2_paths *paths;

	(void)state;
	make_image();
	paths = open_paths(NULL);
	path = path_at(paths, 64 * CLUSTER + 1, 2 * CLUSTER - 1);
	assert_int_equal(path->extent->length_bytes, CLUSTER - 1);
	assert_int_equal(path->refcount->refcount, 1);
	assert_int_equal(qcow2_paths_next(paths, &path, &err), 1);
	assert_int_equal(path->extent->start.byte, 65 * CLUSTER);
	assert_int_equal(path->extent->length_bytes, CLUSTER);
	assert_int_equal(path->extent->host.byte, AT(DATA_LAST));
	assert_int_equal(path->extent->entry, AT(DATA_LAST) | COPIED);
	assert_int_equal(path->l2_index, 1);
	assert_int_equal(path->refcount->refcount, 2);
	assert_int_equal(qcow2_paths_next(paths, &path, &err), 0);
	put_refcount(DATA_LAST, 1);
	path = path_at(paths, 64 * CLUSTER, 2 * CLUSTER);
	qcow2_paths_close(paths);
	open_bytes(AT(CLUSTERS)); /* nothing that was read before */
	paths = open_paths(NULL);
	path = path_at(paths, 64 * CLUSTER, 2 * CLUSTER);
	assert_int_equal(path->extent->length_bytes, 2 * CLUSTER);
	qcow2_paths_close(paths);
}

static void test_path_of_a_snapshot(void **state)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	const struct qcow2_path *path;
	struct qcow2_paths *paths;

	(void)state;
	make_image();
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &snapshot, &err), 1);
	paths = open_paths(snapshot);
	qcow2_snapshots_close(snapshots);
	assert_int_equal(qcow2_paths_size_bytes(paths), 4 * CLUSTER + 7);
	path = path_at(paths, 4 * CLUSTER, 100);
	assert_int_equal(path->extent->length_bytes, 7); /* the disk ends */
	assert_false(path->past_end);
	assert_int_equal(qcow2_paths_next(paths, &path, &err), 0);
	path = path_at(paths, 5 * CLUSTER, 1);
	assert_true(path->past_end);
	assert_int_equal(path->extent->kind, QCOW2_L2_COMPRESSED);
	qcow2_paths_seek(paths, (struct qcow2_guest){64 * CLUSTER}, 1); /* the L1 table ends */
	assert_int_equal(qcow2_paths_next(paths, &path, &err), 0);
	qcow2_paths_close(paths);
}

/* ---- refcounts ---- */

static void test_refcounts(void **state)
{
	const struct qcow2_path *path;
	struct qcow2_paths *paths;

	(void)state;
	make_image();
	put_entry(TABLE, 0, 0); /* no block: all refcounts are 0 */
	paths = open_paths(NULL);
	path = path_at(paths, 3 * CLUSTER, 1);
	assert_true(path->refcount->known);
	assert_int_equal(path->refcount->refcount, 0);
	assert_int_equal(path->refcount->refcount_at.byte, QCOW2_NO_OFFSET);
	qcow2_paths_close(paths);
	put_entry(TABLE, 0, AT(CLUSTERS)); /* the block is past the end */
	open_bytes(AT(CLUSTERS));
	paths = open_paths(NULL);
	path = path_at(paths, 3 * CLUSTER, 1);
	assert_false(path->refcount->known);
	assert_int_equal(path->refcount->table_entry_at.byte, AT(TABLE));
	qcow2_paths_close(paths);
	put_be(bytes + 48, 8, AT(CLUSTERS)); /* no table */
	open_bytes(AT(CLUSTERS));
	paths = open_paths(NULL);
	path = path_at(paths, 3 * CLUSTER, 1);
	assert_false(path->refcount->known);
	assert_int_equal(path->refcount->table_entry_at.byte, QCOW2_NO_OFFSET);
	qcow2_paths_close(paths);
}

/* ---- pieces ---- */

static struct qcow2_pieces *open_pieces(void)
{
	struct qcow2_pieces *pieces;

	assert_int_equal(qcow2_pieces_open(image, NULL, &pieces, &err), 0);
	return pieces;
}

static const struct qcow2_piece *piece_at(struct qcow2_pieces *pieces, uint64_t byte,
					  uint64_t length)
{
	const struct qcow2_piece *piece;

	qcow2_pieces_seek(pieces, (struct qcow2_host){byte}, length);
	assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), 1);
	return piece;
}

/* The owners of a byte, as paths with commas between. */
static const char *owners_at(struct qcow2_pieces *pieces, uint64_t byte)
{
	static char text[512];
	const struct qcow2_piece *piece = piece_at(pieces, byte, 1);
	char where[QCOW2_CLAIM_WHERE_MAX];
	size_t at = 0;

	text[0] = '\0';
	assert_int_equal(piece->owners_total, piece->owner_count);
	for (size_t i = 0; i < piece->owner_count; i++) {
		assert_int_equal(piece->owners[i]->weight, 1);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? "," : "",
				       qcow2_claim_where(piece->owners[i], where, sizeof(where)));
	}
	return text;
}

static void test_owners(void **state)
{
	struct qcow2_pieces *pieces;
	const struct qcow2_piece *piece;

	(void)state;
	make_image();
	pieces = open_pieces();
	assert_string_equal(owners_at(pieces, 0), "header");
	assert_string_equal(owners_at(pieces, AT(L1) + 15), "l1");
	assert_string_equal(owners_at(pieces, AT(SNAPSHOT_L1)), "snapshots/0/l1,snapshots/1/l1");
	assert_string_equal(owners_at(pieces, AT(L2)), "l2/0,snapshots/0/l2/0,snapshots/1/l2/0");
	assert_string_equal(owners_at(pieces, AT(DATA) + 511),
			    "l2/0/3,snapshots/0/l2/0/3,snapshots/1/l2/0/3");
	assert_string_equal(owners_at(pieces, AT(COMPRESSED) + 10),
			    "l2/0/4,snapshots/0/l2/0/4,snapshots/1/l2/0/4");
	assert_string_equal(owners_at(pieces, AT(COMPRESSED) + 100),
			    "l2/0/4,snapshots/0/l2/0/4,snapshots/1/l2/0/4,"
			    "l2/0/5,snapshots/0/l2/0/5,snapshots/1/l2/0/5");
	piece = piece_at(pieces, AT(COMPRESSED) + 9, 1);
	assert_true(piece->unclaimed);
	assert_int_equal(piece->state, QCOW2_PIECE_USED);
	assert_int_equal(piece->owner_count, 6);
	piece = piece_at(pieces, AT(L2) + 5 * 8, 9); /* entries 5 and 6 */
	assert_true(piece->owners[0]->has_guest);
	assert_int_equal(piece->owners[0]->guest_byte, 5 * CLUSTER);
	assert_int_equal(piece->owners[0]->guest_length_bytes, 2 * CLUSTER);
	piece = piece_at(pieces, AT(DATA), 1); /* data of a disk that ends within it */
	assert_int_equal(piece->owners[1]->guest_length_bytes, CLUSTER);
	qcow2_pieces_close(pieces);
	qcow2_pieces_close(NULL);
}

static void test_states(void **state)
{
	static const struct {
		uint64_t start, length;
		enum qcow2_piece_state state;
		size_t owners;
	} all[] = {
		{AT(DATA_LAST), CLUSTER, QCOW2_PIECE_USED, 1},
		{AT(LEAKED), CLUSTER, QCOW2_PIECE_LEAKED, 0},
		{AT(UNUSED), CLUSTER, QCOW2_PIECE_FREE, 0},
		{AT(CLUSTERS), AT(100 - CLUSTERS), QCOW2_PIECE_BEYOND_END, 0},
		{AT(100), CLUSTER, QCOW2_PIECE_BEYOND_END, 1},
		{AT(101), AT(5), QCOW2_PIECE_BEYOND_END, 0},
	};
	struct qcow2_pieces *pieces;
	const struct qcow2_piece *piece;

	(void)state;
	make_image();
	pieces = open_pieces();
	qcow2_pieces_seek(pieces, (struct qcow2_host){AT(DATA_LAST)}, AT(106 - DATA_LAST));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), 1);
		assert_int_equal(piece->start.byte, all[i].start);
		assert_int_equal(piece->length_bytes, all[i].length);
		assert_int_equal(piece->state, all[i].state);
		assert_int_equal(piece->owner_count, all[i].owners);
	}
	assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), 0);
	/* Far behind the end, all is one piece. */
	piece = piece_at(pieces, AT(1 << 20), UINT64_MAX);
	assert_int_equal(piece->start.byte + piece->length_bytes, AT((1 << 20) + 16384));
	assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), 1);
	assert_int_equal(piece->start.byte + (piece->length_bytes - 1), UINT64_MAX);
	assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), 0);
	qcow2_pieces_seek(pieces, (struct qcow2_host){0}, 0);
	assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), 0);
	qcow2_pieces_close(pieces);
}

static void test_limits(void **state)
{
	struct qcow2_pieces_options options = {.size = sizeof(options), .memory_limit_bytes = 1000};
	const struct qcow2_piece *piece;
	struct qcow2_pieces *pieces;

	(void)state;
	make_image();
	assert_int_equal(qcow2_pieces_open(image, &options, &pieces, &err), 0);
	qcow2_pieces_seek(pieces, (struct qcow2_host){0}, 1);
	assert_int_equal(qcow2_pieces_next(pieces, &piece, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	qcow2_pieces_close(pieces);
	options.size = 0;
	assert_int_equal(qcow2_pieces_open(image, &options, &pieces, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	put_be(bytes + 20, 4, 63); /* cluster_bits */
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_pieces_open(image, NULL, &pieces, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
}

/* ---- fields and names ---- */

static int keep_where(void *opaque, const char *where, const struct qcow2_value *value)
{
	snprintf(opaque, 256, "%s=%llu", where, (unsigned long long)value->number);
	return 0;
}

static void test_fields(void **state)
{
	static const struct {
		uint64_t byte;
		const char *says; /* NULL: no field */
	} all[] = {
		{24 + 7, "header/size=65536"},
		{AT(L1) + 8, "l1/1=9223372036854778368"},
		{AT(L2) + 3 * 8 + 1, "l2/0/3=4096"},
		{AT(TABLE), "refcount_table/0=1024"},
		{AT(BLOCK) + 2 * DATA + 1, "refcounts/0/8=3"},
		{AT(SNAPSHOTS) + 64 + 48, "snapshots/1/disk_size=65536"},
		{AT(SNAPSHOTS) + 57, "snapshots/0/name=0"},
		{AT(DATA), NULL},
		{400, NULL}, /* the rest of the header's cluster */
	};
	struct qcow2_pieces *pieces;

	(void)state;
	make_image();
	pieces = open_pieces();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct qcow2_piece *piece = piece_at(pieces, all[i].byte, 1);
		char says[256] = "";

		assert_int_equal(qcow2_field_find(image, piece->owners[0], piece->start, keep_where,
						  says, &err),
				 all[i].says != NULL);
		assert_string_equal(says, all[i].says ? all[i].says : "");
	}
	qcow2_pieces_close(pieces);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(qcow2_piece_state_name(QCOW2_PIECE_BEYOND_END), "beyond-end");
	assert_null(qcow2_piece_state_name((enum qcow2_piece_state)4));
	assert_string_equal(qcow2_claim_part_name(QCOW2_CLAIM_DATA), "data");
	for (unsigned i = 0; i <= QCOW2_CLAIM_DATA; i++)
		assert_non_null(qcow2_claim_part_name((enum qcow2_claim_part)i));
	assert_null(qcow2_claim_part_name((enum qcow2_claim_part)11));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_refcounts_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_of_a_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refcounts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owners, setup, teardown),
		cmocka_unit_test_setup_teardown(test_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
