/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the walk share: the state of one walk, and the calls with which a part goes
 * down the tree and tells the visitor what it finds.
 *
 * A part looks like this: enter a step and return if nothing below is wanted; begin a node; tell
 * its values or call further parts; end the node; leave the step. Every enter that returns true
 * needs its leave, and every begin its end.
 *
 * Failure is sticky. Once the visitor wants to stop or a read fails, the calls below do nothing and
 * q2_walk_enter() returns false. So the parts need no error paths of their own, but they leave
 * their loops when q2_walk_over() says so.
 */
#ifndef Q2_WALK_INTERNAL_H
#define Q2_WALK_INTERNAL_H

#include "base/choices.h"
#include "base/hash.h"
#include "rules/rules.h"
#include "walk/select.h"

struct q2_walk_state {
	const struct qcow2_image *image;
	const struct qcow2_header *header;
	const struct qcow2_geometry *geometry; /* NULL if insane */
	struct qcow2_selection *selection;
	const struct qcow2_visitor *visitor;
	void *opaque;
	struct qcow2_error *err;
	struct q2_reporter reporter; /* leads to the visitor */
	struct q2_hash_key hash_key;
	struct qcow2_table *table; /* of q2_walk_table(), or NULL as long as nobody asked */
	struct q2_walk_rows *rows; /* see rows.h; NULL as long as there were none */
	struct q2_walk_budgets {
		uint64_t counted;       /* bytes of bitmap data that may still be counted */
		uint64_t directories;   /* bytes of bitmap directory and snapshot table to list */
		uint64_t bitmap_tables; /* bytes of bitmap tables to list */
		uint64_t followed;      /* bytes of bitmap tables to look for data in */
		uint64_t bitmap_data;   /* bytes of bitmap data to show */
		uint64_t tables;        /* bytes of L1, L2 and refcount tables to list */
		uint64_t refcount_bits; /* bits of refcount blocks to list */
	} left;
	/*
	 * Shared by all lists of L2 tables: the readers, and which table was shown at which path.
	 */
	struct q2_walk_l2_state {
		struct qcow2_table *l1;
		struct qcow2_table *tables;
		struct q2_name_set shown;
	} l2;
	unsigned flags;
	bool probe; /* this walk finds out what the selectors name, and tells the visitor nothing */
	bool failed;    /* err is filled */
	bool done;      /* the probe has found everything */
	uint64_t empty; /* selectors that ask for all of a list that has nothing */
	/* For the error about a selector that names nothing; see lost.h. */
	struct q2_walk_lost_state {
		size_t selector; /* its index, or SIZE_MAX */
		char names[160]; /* at the place where it failed */
		struct q2_choices choices;
		char reason[160]; /* or "" */
		bool empty;       /* the list at that place has no elements */
	} lost;
};

/* Whether the walk is over, so that parts should leave their loops. */
static inline bool q2_walk_over(const struct q2_walk_state *w)
{
	return w->failed || w->done;
}

/* Notes a failure, whose reason is in w->err. */
void q2_walk_fail(struct q2_walk_state *w);

/*
 * Goes down one step in the tree. Returns false, and does not move, if no selector wants anything
 * below it. The shorter forms enter a member by its key, a bulk table (which only selectors ask
 * for), and an element of a list by its index.
 */
bool q2_walk_enter(struct q2_walk_state *w, const struct q2_step *step);
bool q2_walk_enter_key(struct q2_walk_state *w, const char *key);
bool q2_walk_enter_bulk(struct q2_walk_state *w, const char *key);
bool q2_walk_enter_index(struct q2_walk_state *w, uint64_t index);
void q2_walk_leave(struct q2_walk_state *w);

void q2_walk_begin(struct q2_walk_state *w, const struct qcow2_node *node);
void q2_walk_end(struct q2_walk_state *w, const struct qcow2_node *node);
void q2_walk_begin_list(struct q2_walk_state *w, const struct qcow2_node *node);
void q2_walk_end_list(struct q2_walk_state *w, const struct qcow2_node *node);

/* Makes a node with a key and a heading. The caller may set other members before it begins it. */
struct qcow2_node q2_walk_node(const char *key, const char *title);
/* Makes a node that is row `index` of the list that was begun last. */
struct qcow2_node q2_walk_row(uint64_t index, uint64_t offset_bytes);

/* Tells the visitor a value if a selector wants it. This and the next two set value->size. */
void q2_walk_value(struct q2_walk_state *w, struct qcow2_value *value);
/*
 * Tells a value that identifies an element of a list, such as its name, whether or not a selector
 * wants it. Unlike q2_walk_value_always(), a selector may name it.
 */
void q2_walk_label(struct q2_walk_state *w, struct qcow2_value *value);
/* Tells the value whether or not a selector names it. */
void q2_walk_value_always(struct q2_walk_state *w, struct qcow2_value *value);

/* Tell derived values, which have no bytes in the file, if a selector wants them. */
void q2_walk_number(struct q2_walk_state *w, const char *name, enum qcow2_style style,
		    uint64_t number);
void q2_walk_bool(struct q2_walk_state *w, const char *name, bool truth);
void q2_walk_null(struct q2_walk_state *w, const char *name);
void q2_walk_text(struct q2_walk_state *w, const char *name, const char *text);
/*
 * Tells bytes of the image that lie at offset_bytes. text: they should be text, but may be
 * anything.
 */
void q2_walk_bytes(struct q2_walk_state *w, const char *name, bool text, struct qcow2_bytes bytes,
		   uint64_t offset_bytes);

/* Tells the whole entry of a table, with place and bytes. Its fields follow as derived values. */
void q2_walk_entry(struct q2_walk_state *w, uint64_t entry, uint64_t offset_bytes);

/* The bytes of a structure and where they are. */
struct q2_placed {
	struct qcow2_bytes bytes;
	uint64_t offset_bytes;
};

/* Tells the fields of a structure, as far as `placed` holds them whole. */
void q2_walk_fields(struct q2_walk_state *w, const struct qcow2_structure *structure,
		    const struct q2_placed *placed);

/*
 * Gives the reader for tables that all parts share. It is made when it is first asked for and freed
 * with the walk, since images may have tens of thousands of tables. A part that walks one table may
 * not call another part that uses it. Returns NULL after a failure, which is noted.
 */
struct qcow2_table *q2_walk_table(struct q2_walk_state *w);

/*
 * Pays for the entries [first, last) of a list, size_bytes each, from the budget *left. Returns the
 * end of what could be paid for: last, or less if the budget is used up.
 */
uint64_t q2_walk_afford(uint64_t *left, uint64_t first, uint64_t last, uint64_t size_bytes);
/* Tells how many entries of a list were left out, as value `name`, if count is not 0. */
void q2_walk_omitted(struct q2_walk_state *w, const char *name, uint64_t count);

/* The parts, in the order in which they are walked. Each enters its own step. */
void q2_walk_header(struct q2_walk_state *w);
void q2_walk_features(struct q2_walk_state *w);
void q2_walk_extensions(struct q2_walk_state *w);
void q2_walk_backing(struct q2_walk_state *w);
void q2_walk_luks(struct q2_walk_state *w);
void q2_walk_snapshots(struct q2_walk_state *w);
void q2_walk_l1(struct q2_walk_state *w);
void q2_walk_l2(struct q2_walk_state *w);
void q2_walk_refcount_table(struct q2_walk_state *w);
void q2_walk_refcounts(struct q2_walk_state *w);

/* Parts that others call, below a bitmap directory entry. */
void q2_walk_bitmap_directory(struct q2_walk_state *w);
void q2_walk_bitmap_table(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap);
void q2_walk_bitmap_totals(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap);
void q2_walk_bitmap_data(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap);
/* An L1 table, and the disk that it maps. */
struct q2_walk_l1 {
	const char *path; /* "l1", "snapshots/0/l1" */
	uint64_t offset_bytes, entries;
	const struct q2_disk *disk;
};

/* Walks the rows of an L1 table. Returns how many rows the budget did not pay for. */
uint64_t q2_walk_l1_rows(struct q2_walk_state *w, const struct q2_walk_l1 *l1);

/* Walks the L2 tables below an L1 table. Its path is of no interest. */
void q2_walk_l2_tables(struct q2_walk_state *w, const struct q2_walk_l1 *l1);
/* Forgets which L2 tables were shown, as the walk starts anew after the probe. */
void q2_walk_l2_forget(struct q2_walk_state *w);
void q2_walk_l2_release(struct q2_walk_state *w);

#endif
