/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the walk share: the state of one walk, and the few calls with which a part goes
 * down the tree and tells the visitor what it finds.
 *
 * Failure is sticky: once the visitor wants to stop or a read fails, the calls below do nothing and
 * enter() answers false, so that the parts need no error paths of their own beyond leaving loops.
 */
#ifndef Q2_WALK_INTERNAL_H
#define Q2_WALK_INTERNAL_H

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
	struct qcow2_table *table; /* see q2_walk_table() */
	struct q2_walk_budgets {
		uint64_t counted;       /* bytes of bitmap data that may still be counted */
		uint64_t directories;   /* bytes of bitmap directory and snapshot table to list */
		uint64_t bitmap_tables; /* bytes of bitmap tables to list */
		uint64_t followed;      /* bytes of bitmap tables to look for data in */
		uint64_t bitmap_data;   /* bytes of bitmap data to show */
		uint64_t tables;        /* bytes of L1, L2 and refcount tables to list */
		uint64_t refcount_bits; /* bits of refcount blocks to list */
	} left;
	/* For all lists of L2 tables: readers made when first needed, and what was shown where. */
	struct q2_walk_l2_state {
		struct qcow2_table *l1;
		struct qcow2_table *tables;
		struct q2_name_set shown;
	} l2;
	unsigned flags;
	bool probe;  /* only finds out what the selectors name; tells the visitor nothing */
	bool failed; /* err is filled */
	bool done;   /* the probe has found everything */
	/* For the error about a selector that names nothing: what there is where it got lost. */
	size_t lost_selector; /* its index, or SIZE_MAX */
	char choices[160];
	size_t choices_size;
};

/* Whether the parts should leave their loops. */
static inline bool q2_walk_over(const struct q2_walk_state *w)
{
	return w->failed || w->done;
}

/* Notes that a call on the library failed; w->err is filled already. */
void q2_walk_fail(struct q2_walk_state *w);

/* Remembers a name that a selector which names nothing could have had at this place. */
void q2_walk_offer(struct q2_walk_state *w, const char *name);

/* Goes down one step if anything there is wanted. */
bool q2_walk_enter(struct q2_walk_state *w, const struct q2_step *step);
bool q2_walk_enter_key(struct q2_walk_state *w, const char *key);
bool q2_walk_enter_bulk(struct q2_walk_state *w, const char *key);
bool q2_walk_enter_index(struct q2_walk_state *w, uint64_t index);
void q2_walk_leave(struct q2_walk_state *w);

void q2_walk_begin(struct q2_walk_state *w, const struct qcow2_node *node);
void q2_walk_end(struct q2_walk_state *w, const struct qcow2_node *node);
void q2_walk_begin_list(struct q2_walk_state *w, const struct qcow2_node *node);
void q2_walk_end_list(struct q2_walk_state *w, const struct qcow2_node *node);

/* A node with nothing but a key and a heading; members can be changed before it is used. */
struct qcow2_node q2_walk_node(const char *key, const char *title);
/* A row of the list that is walked. */
struct qcow2_node q2_walk_row(uint64_t index, uint64_t offset_bytes);

/* Tells of a value if it is wanted. */
/* Each sets value->size: the visitor may know fewer members. */
void q2_walk_value(struct q2_walk_state *w, struct qcow2_value *value);
/* Of one that tells an element of a list from another: wanted or not, but it can be asked for. */
void q2_walk_label(struct q2_walk_state *w, struct qcow2_value *value);
/* Of one that nobody has to ask for. */
void q2_walk_value_always(struct q2_walk_state *w, struct qcow2_value *value);

/* Derived values: they are not stored anywhere. */
void q2_walk_number(struct q2_walk_state *w, const char *name, enum qcow2_style style,
		    uint64_t number);
void q2_walk_bool(struct q2_walk_state *w, const char *name, bool truth);
void q2_walk_null(struct q2_walk_state *w, const char *name);
void q2_walk_text(struct q2_walk_state *w, const char *name, const char *text);
/* Bytes of the image at a place; text says that they should be text. */
void q2_walk_bytes(struct q2_walk_state *w, const char *name, bool text, struct qcow2_bytes bytes,
		   uint64_t offset_bytes);

/* An entry of a table as it is, with its place and bytes; its parts follow as derived values. */
void q2_walk_entry(struct q2_walk_state *w, uint64_t entry, uint64_t offset_bytes);

/* The bytes of a structure and where they are. */
struct q2_placed {
	struct qcow2_bytes bytes;
	uint64_t offset_bytes;
};

/* All fields of a structure that its bytes hold whole. */
void q2_walk_fields(struct q2_walk_state *w, const struct qcow2_structure *structure,
		    const struct q2_placed *placed);

/*
 * A reader for one table at a time, made when first asked for and freed with the walk: images may
 * have tens of thousands of tables. NULL after a failure, which is noted.
 */
struct qcow2_table *q2_walk_table(struct q2_walk_state *w);

/*
 * How far a list of entries that take size_bytes each goes on: to last, or as far as what is left
 * of a budget lets it. What is granted is taken from the budget.
 */
uint64_t q2_walk_afford(uint64_t *left, uint64_t first, uint64_t last, uint64_t size_bytes);
/* Says that a list ended before its end, if it did. */
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

/* Parts of parts. */
void q2_walk_bitmap_directory(struct q2_walk_state *w);
void q2_walk_bitmap_table(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap);
void q2_walk_bitmap_totals(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap);
void q2_walk_bitmap_data(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap);
/*
 * The rows of an L1 table; owner is its path, for problems. Returns how many rows there was no
 * budget for.
 */
uint64_t q2_walk_l1_rows(struct q2_walk_state *w, const char *owner, uint64_t offset_bytes,
			 uint64_t entries);

/* The L2 tables below an L1 table: that of the active image, or 1 + the index of a snapshot. */
#define Q2_WALK_ACTIVE 0
void q2_walk_l2_tables(struct q2_walk_state *w, uint64_t list, uint64_t l1_offset,
		       uint64_t l1_size);
/* Starts anew: no table was shown yet. */
void q2_walk_l2_forget(struct q2_walk_state *w);
void q2_walk_l2_release(struct q2_walk_state *w);

#endif
