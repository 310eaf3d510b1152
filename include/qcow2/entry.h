/* SPDX-License-Identifier: MIT */
/*
 * Entries of tables: the 64-bit words of L1, L2, refcount and bitmap tables, and the refcounts of a
 * refcount block. This header decodes, classifies and encodes them. All of it comes from the lists
 * def/NAME_entry.def and def/l2_*.def, so that no mask is written down twice.
 *
 * For each kind of entry there are
 *
 *   struct qcow2_KIND              one member per field of the list, under the field's own name;
 *                                  reserved bits are fields as well (reserved_FIRSTBIT)
 *   qcow2_KIND_decode(entry)       splits an entry into that struct
 *   qcow2_KIND_encode(&fields)     the inverse: encode(decode(entry)) == entry for any 64 bits
 *   QCOW2_ENTRY_MASK(KIND, field)  the bits of a field, as a constant
 *
 * where KIND is l1_entry, l2_entry, l2_compressed, l2_subclusters, refcount_table_entry or
 * bitmap_table_entry. Three of them share the L2 table: an L2 entry is an l2_compressed if its bit
 * compressed is set, else an l2_entry; with extended L2 entries the word after it is an
 * l2_subclusters. qcow2_l2_classify() tells them apart.
 *
 * Units: an entry is a uint64_t in host byte order (the file stores it big-endian). A member that
 * is called offset keeps its place in the word and is therefore a byte offset into the file; any
 * other member is shifted down. cluster_bits is the header's field, 9 to 30.
 *
 * Everything here is pure and inline: no I/O, no allocation, no state, no error. Any 64-bit value
 * can be decoded, whether or not the specification allows it. All functions may be called from any
 * thread. Nothing here checks that an offset is a multiple of the cluster size or inside the file;
 * qcow2_check() does.
 *
 *	uint64_t entry = ...;  // from qcow2_table_entry()
 *	struct qcow2_l1_entry l1 = qcow2_l1_entry_decode(entry);
 *
 *	if (l1.offset != 0)
 *		printf("L2 table at %#llx\n", (unsigned long long)l1.offset);
 */
#ifndef QCOW2_ENTRY_H
#define QCOW2_ENTRY_H

#include <qcow2/format.h>

QCOW2_BEGIN_DECLS

/* ---- bits of table entries ---- */

/* A word in which the bits [first, first + count) are set; first 0 to 63, count 1 to 64 - first. */
#define QCOW2_BIT_RANGE(first, count) (UINT64_MAX >> (64 - (count)) << (first))

/*
 * The bits of a field in its entry: QCOW2_ENTRY_MASK(l2_entry, offset) is 0x00fffffffffffe00. A
 * constant expression. l2_compressed has no masks, since its fields depend on the cluster size.
 */
#define QCOW2_ENTRY_MASK(kind, field)                                                              \
	QCOW2_BIT_RANGE(QCOW2_##kind##_##field##_FIRST, QCOW2_##kind##_##field##_COUNT)

/* The number of a field's lowest bit, a constant: QCOW2_ENTRY_SHIFT(l1_entry, copied) is 63. */
#define QCOW2_ENTRY_SHIFT(kind, field) QCOW2_##kind##_##field##_FIRST

/* The numbers behind the two macros above, from the lists. */
#define QCOW2_BITS_ENUM_(kind, name, first, count)                                                 \
	QCOW2_##kind##_##name##_FIRST = (first), QCOW2_##kind##_##name##_COUNT = (count),
#define QCOW2_BITS_ENUM(kind, name, first, count) QCOW2_BITS_ENUM_(kind, name, first, count)
#define QCOW2_BITS(name, first, count, style, legal, meaning)                                      \
	QCOW2_BITS_ENUM(QCOW2_KIND, name, first, count)
#define QCOW2_BITS_IN_PLACE(name, first, count, style, legal, meaning)                             \
	QCOW2_BITS_ENUM(QCOW2_KIND, name, first, count)
#define QCOW2_BITS_RESERVED(name, first, count) QCOW2_BITS_ENUM(QCOW2_KIND, name, first, count)
enum {
#define QCOW2_KIND l1_entry
#include <qcow2/def/l1_entry.def>
#undef QCOW2_KIND
#define QCOW2_KIND l2_entry
#include <qcow2/def/l2_entry.def>
#undef QCOW2_KIND
#define QCOW2_KIND l2_subclusters
#include <qcow2/def/l2_subclusters.def>
#undef QCOW2_KIND
#define QCOW2_KIND refcount_table_entry
#include <qcow2/def/refcount_table_entry.def>
#undef QCOW2_KIND
#define QCOW2_KIND bitmap_table_entry
#include <qcow2/def/bitmap_table_entry.def>
#undef QCOW2_KIND
};
#undef QCOW2_BITS_ENUM_
#undef QCOW2_BITS_ENUM
#undef QCOW2_BITS
#undef QCOW2_BITS_IN_PLACE
#undef QCOW2_BITS_RESERVED

/*
 * All reserved bits of each kind of entry; the specification wants them to be 0. l2_compressed and
 * l2_subclusters have none.
 */
#define QCOW2_BITS(name, first, count, style, legal, meaning)
#define QCOW2_BITS_IN_PLACE(name, first, count, style, legal, meaning)
#define QCOW2_BITS_RESERVED(name, first, count) | QCOW2_BIT_RANGE(first, count)
static const uint64_t qcow2_l1_entry_reserved = 0
#include <qcow2/def/l1_entry.def>
	;
static const uint64_t qcow2_l2_entry_reserved = 0
#include <qcow2/def/l2_entry.def>
	;
static const uint64_t qcow2_refcount_table_entry_reserved = 0
#include <qcow2/def/refcount_table_entry.def>
	;
static const uint64_t qcow2_bitmap_table_entry_reserved = 0
#include <qcow2/def/bitmap_table_entry.def>
	;
#undef QCOW2_BITS
#undef QCOW2_BITS_IN_PLACE
#undef QCOW2_BITS_RESERVED

/*
 * x of "Compressed Clusters Descriptor": the number of the bit at which the descriptor of a
 * compressed cluster is split, 62 - (cluster_bits - 8). cluster_bits outside of 9 to 30 counts as
 * 9, so that the result is always 40 to 61 and may be shifted by.
 */
static inline unsigned qcow2_compressed_bit_x(unsigned cluster_bits)
{
	return cluster_bits >= 9 && cluster_bits <= 30 ? 70 - cluster_bits : 61;
}

/*
 * The lowest bit and the number of bits of a field of which a list says (first, count), with
 * QCOW2_BIT_X replaced: a first of X is bit x; a count of X means x bits for a field that starts
 * elsewhere, and all bits up to bit 61 for the one that starts at x.
 */
static inline unsigned qcow2_bits_first(unsigned first, unsigned x)
{
	return first == QCOW2_BIT_X ? x : first;
}

static inline unsigned qcow2_bits_count(unsigned first, unsigned count, unsigned x)
{
	if (count != QCOW2_BIT_X)
		return count;
	return first == QCOW2_BIT_X ? 62 - x : x;
}

/* ---- decode table entries ---- */

#define QCOW2_BITS(name, first, count, style, legal, meaning)          uint64_t name;
#define QCOW2_BITS_IN_PLACE(name, first, count, style, legal, meaning) uint64_t name;
#define QCOW2_BITS_RESERVED(name, first, count)                        uint64_t name;

/*
 * An entry of an L1 table ("Cluster mapping").
 *
 * offset:    where the L2 table is, in bytes; 0: all that it would map is unallocated
 * copied:    0 or 1; 1: the refcount of the L2 table is exactly 1. Meaningful in the active L1
 *            table only, not in those of snapshots
 * reserved_0, reserved_56:  to be 0
 */
struct qcow2_l1_entry {
#include <qcow2/def/l1_entry.def>
};
/*
 * An L2 entry of a standard cluster ("Standard Cluster Descriptor").
 *
 * zero:        0 or 1; 1: reads as zeros, whatever the offset says. Reserved in version 2 and with
 *              extended L2 entries
 * offset:      where the data is, in bytes of the image file, or of the external data file if the
 *              image has one; 0: there is no host cluster, but see qcow2_l2_has_offset()
 * compressed:  0; if it is 1, the entry is a struct qcow2_l2_compressed
 * copied:      0 or 1; 1: the refcount of the cluster is exactly 1. Meaningful in tables of the
 *              active image only
 * reserved_1, reserved_56:  to be 0
 */
struct qcow2_l2_entry {
#include <qcow2/def/l2_entry.def>
};
/*
 * An L2 entry of a compressed cluster ("Compressed Clusters Descriptor").
 *
 * offset:              where the compressed data starts, in bytes, of any alignment
 * additional_sectors:  sectors of 512 bytes that the data may use beyond the one with its start
 * compressed:          1
 * copied:              0, since compressed clusters are never written in place
 *
 * Where offset ends and additional_sectors begins depends on the cluster size.
 * qcow2_compressed_split() works out which bytes the entry claims.
 */
struct qcow2_l2_compressed {
#include <qcow2/def/l2_compressed.def>
};
/*
 * The second word of an extended L2 entry ("Extended L2 Entries"). Bit i of each member stands for
 * subcluster i of 32, in guest order.
 *
 * allocated:  the subcluster's data is in the host cluster, at i times the subcluster size
 * zeroes:     the subcluster reads as zeros; disjoint from allocated
 *
 * A subcluster with neither bit is unallocated, even if its cluster has a host cluster.
 */
struct qcow2_l2_subclusters {
#include <qcow2/def/l2_subclusters.def>
};
/*
 * An entry of the refcount table ("Host cluster management").
 *
 * offset:      where the refcount block is, in bytes; 0: all refcounts in it are 0
 * reserved_0:  to be 0
 */
struct qcow2_refcount_table_entry {
#include <qcow2/def/refcount_table_entry.def>
};
/*
 * An entry of a bitmap table ("Bitmap table"), which stands for one cluster of the bitmap's bits.
 *
 * all_ones:  0 or 1; without an offset, all bits are this; with one, to be 0
 * offset:    where the bits are, in bytes; 0: they are not stored
 * reserved_1, reserved_56:  to be 0; whoever reads the bits has to refuse an entry with any of them
 */
struct qcow2_bitmap_table_entry {
#include <qcow2/def/bitmap_table_entry.def>
};
#undef QCOW2_BITS
#undef QCOW2_BITS_IN_PLACE
#undef QCOW2_BITS_RESERVED

#define QCOW2_BITS(name, first, count, style, legal, meaning)                                      \
	fields.name = entry >> qcow2_bits_first(first, x) &                                        \
		      QCOW2_BIT_RANGE(0, qcow2_bits_count(first, count, x));
#define QCOW2_BITS_IN_PLACE(name, first, count, style, legal, meaning)                             \
	fields.name = entry & QCOW2_BIT_RANGE(first, count);
#define QCOW2_BITS_RESERVED(name, first, count)                                                    \
	fields.name = (entry >> (first)) & QCOW2_BIT_RANGE(0, count);

/*
 * Splits an L1 entry, in host byte order, into its fields. Returns them all, the reserved ones
 * included; the compiler drops those that the caller does not use.
 */
static inline struct qcow2_l1_entry qcow2_l1_entry_decode(uint64_t entry)
{
	const unsigned x = 0;
	struct qcow2_l1_entry fields;

#include <qcow2/def/l1_entry.def>
	return fields;
}

/*
 * Splits an L2 entry, the first word of an extended one, into the fields of a standard cluster. If
 * the result's compressed is 1, its zero, offset and reserved members mean nothing: then decode the
 * entry with qcow2_l2_compressed_decode(). copied and compressed are the same bits in both.
 */
static inline struct qcow2_l2_entry qcow2_l2_entry_decode(uint64_t entry)
{
	const unsigned x = 0;
	struct qcow2_l2_entry fields;

#include <qcow2/def/l2_entry.def>
	return fields;
}

/*
 * Splits an L2 entry into the fields of a compressed cluster. cluster_bits is the header's, 9 to
 * 30, and says where offset ends. The caller has asked qcow2_l2_is_compressed().
 */
static inline struct qcow2_l2_compressed qcow2_l2_compressed_decode(uint64_t entry,
								    unsigned cluster_bits)
{
	const unsigned x = qcow2_compressed_bit_x(cluster_bits);
	struct qcow2_l2_compressed fields;

#include <qcow2/def/l2_compressed.def>
	return fields;
}

/*
 * Splits the second word of an extended L2 entry, which images with the incompatible feature
 * "extended L2 entries" have behind each first word.
 */
static inline struct qcow2_l2_subclusters qcow2_l2_subclusters_decode(uint64_t entry)
{
	const unsigned x = 0;
	struct qcow2_l2_subclusters fields;

#include <qcow2/def/l2_subclusters.def>
	return fields;
}

/* Splits a refcount table entry, in host byte order, into its fields. */
static inline struct qcow2_refcount_table_entry qcow2_refcount_table_entry_decode(uint64_t entry)
{
	struct qcow2_refcount_table_entry fields;

#include <qcow2/def/refcount_table_entry.def>
	return fields;
}

/*
 * Splits a bitmap table entry, in host byte order, into its fields. qcow2_bitmap_entry_classify()
 * says what they mean together.
 */
static inline struct qcow2_bitmap_table_entry qcow2_bitmap_table_entry_decode(uint64_t entry)
{
	const unsigned x = 0;
	struct qcow2_bitmap_table_entry fields;

#include <qcow2/def/bitmap_table_entry.def>
	return fields;
}
#undef QCOW2_BITS
#undef QCOW2_BITS_IN_PLACE
#undef QCOW2_BITS_RESERVED

/* ---- encode table entries ---- */

/*
 * Encoders, the inverse of the decoders: each puts *fields together to an entry in host byte order.
 * Bits that a field cannot hold are dropped, so that no member spills into another: the low 9 bits
 * of an offset, for example. Members that an initializer leaves out are 0, which is right for
 * reserved ones.
 *
 *	const struct qcow2_l2_entry fields = {.offset = 0x50000, .copied = 1};
 *	uint64_t entry = qcow2_l2_entry_encode(&fields);  // 0x8000000000050000
 *
 * An entry by itself is not consistent: the refcount of the cluster and the copied flag belong
 * together. <qcow2/edit.h> plans changes and checks them.
 */

#define QCOW2_BITS(name, first, count, style, legal, meaning)                                      \
	entry |= (fields->name & QCOW2_BIT_RANGE(0, qcow2_bits_count(first, count, x)))            \
		 << qcow2_bits_first(first, x);
#define QCOW2_BITS_IN_PLACE(name, first, count, style, legal, meaning)                             \
	entry |= fields->name & QCOW2_BIT_RANGE(first, count);
#define QCOW2_BITS_RESERVED(name, first, count)                                                    \
	entry |= (fields->name & QCOW2_BIT_RANGE(0, count)) << (first);

/* The L1 entry that has these fields. */
static inline uint64_t qcow2_l1_entry_encode(const struct qcow2_l1_entry *fields)
{
	const unsigned x = 0;
	uint64_t entry = 0;

#include <qcow2/def/l1_entry.def>
	return entry;
}

/* The L2 entry of a standard cluster that has these fields. */
static inline uint64_t qcow2_l2_entry_encode(const struct qcow2_l2_entry *fields)
{
	const unsigned x = 0;
	uint64_t entry = 0;

#include <qcow2/def/l2_entry.def>
	return entry;
}

/*
 * The L2 entry of a compressed cluster. fields->compressed has to be 1, as a decode sets it;
 * cluster_bits as for qcow2_l2_compressed_decode().
 */
static inline uint64_t qcow2_l2_compressed_encode(const struct qcow2_l2_compressed *fields,
						  unsigned cluster_bits)
{
	const unsigned x = qcow2_compressed_bit_x(cluster_bits);
	uint64_t entry = 0;

#include <qcow2/def/l2_compressed.def>
	return entry;
}

/* The second word of an extended L2 entry that has these bits. */
static inline uint64_t qcow2_l2_subclusters_encode(const struct qcow2_l2_subclusters *fields)
{
	const unsigned x = 0;
	uint64_t entry = 0;

#include <qcow2/def/l2_subclusters.def>
	return entry;
}

/* The refcount table entry that has these fields. */
static inline uint64_t
qcow2_refcount_table_entry_encode(const struct qcow2_refcount_table_entry *fields)
{
	uint64_t entry = 0;

#include <qcow2/def/refcount_table_entry.def>
	return entry;
}

/* The bitmap table entry that has these fields. */
static inline uint64_t
qcow2_bitmap_table_entry_encode(const struct qcow2_bitmap_table_entry *fields)
{
	const unsigned x = 0;
	uint64_t entry = 0;

#include <qcow2/def/bitmap_table_entry.def>
	return entry;
}
#undef QCOW2_BITS
#undef QCOW2_BITS_IN_PLACE
#undef QCOW2_BITS_RESERVED

/* ---- what table entries mean ---- */

/* What an L2 entry, or one subcluster of it, is to the guest ("Cluster mapping"). */
enum qcow2_l2_kind {
	QCOW2_L2_UNALLOCATED = 0,    /* reads from the backing file, or as zeros if there is none */
	QCOW2_L2_ZERO = 1,           /* reads as zeros, and no host cluster belongs to it */
	QCOW2_L2_ZERO_ALLOCATED = 2, /* reads as zeros, though a host cluster is kept for it */
	QCOW2_L2_DATA = 3,           /* its data is in the host cluster at its offset */
	QCOW2_L2_COMPRESSED = 4,     /* its data is compressed; see qcow2_compressed_split() */
	QCOW2_L2_INVALID = 5,        /* a subcluster only: contradicts itself and cannot be read */
};

/*
 * Whether an L2 entry that is not compressed has a host cluster. An offset of 0 means that it has
 * none, since the header is there. In an image with an external data file (data_file), offset 0 is
 * the data file's first cluster; there the copied flag tells it from an unallocated one.
 */
static inline bool qcow2_l2_has_offset(uint64_t entry, bool data_file)
{
	return (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) != 0 ||
	       (data_file && (entry & QCOW2_ENTRY_MASK(l2_entry, copied)) != 0);
}

/*
 * Whether an L2 entry is that of a compressed cluster (bit 62), so that the other bits are those of
 * struct qcow2_l2_compressed.
 */
static inline bool qcow2_l2_is_compressed(uint64_t entry)
{
	return (entry & QCOW2_ENTRY_MASK(l2_entry, compressed)) != 0;
}

/*
 * The kind of an L2 entry, never QCOW2_L2_INVALID. extended_l2 and data_file are members of struct
 * qcow2_geometry. With extended L2 entries, bit 0 means nothing and the result is one of
 * UNALLOCATED, DATA (there is a host cluster) and COMPRESSED; qcow2_subcluster_classify() says
 * more. In version 2 images, too, bit 0 counts as the zero flag, though it is reserved there.
 * Reserved bits have no influence.
 */
static inline enum qcow2_l2_kind qcow2_l2_classify(uint64_t entry, bool extended_l2, bool data_file)
{
	const bool placed = qcow2_l2_has_offset(entry, data_file);

	if (qcow2_l2_is_compressed(entry))
		return QCOW2_L2_COMPRESSED;
	if (!extended_l2 && (entry & QCOW2_ENTRY_MASK(l2_entry, zero)))
		return placed ? QCOW2_L2_ZERO_ALLOCATED : QCOW2_L2_ZERO;
	return placed ? QCOW2_L2_DATA : QCOW2_L2_UNALLOCATED;
}

/*
 * The kind of subcluster index (0 to 31) of an extended L2 entry, whose second word is subclusters
 * ("Extended L2 Entries"). QCOW2_L2_INVALID: it is both allocated and read as zeros, or allocated
 * while the entry has no host cluster. All subclusters of a compressed cluster are COMPRESSED,
 * whatever the second word says. QEMU refuses to read any subcluster of a cluster that has an
 * invalid one.
 */
static inline enum qcow2_l2_kind qcow2_subcluster_classify(uint64_t entry, uint64_t subclusters,
							   unsigned index, bool data_file)
{
	const struct qcow2_l2_subclusters words = qcow2_l2_subclusters_decode(subclusters);
	const bool allocated = (words.allocated >> index & 1) != 0;
	const bool zero = (words.zeroes >> index & 1) != 0;
	const bool placed = qcow2_l2_has_offset(entry, data_file);

	if (qcow2_l2_is_compressed(entry))
		return QCOW2_L2_COMPRESSED;
	if (allocated && (zero || !placed))
		return QCOW2_L2_INVALID;
	if (zero)
		return placed ? QCOW2_L2_ZERO_ALLOCATED : QCOW2_L2_ZERO;
	return allocated ? QCOW2_L2_DATA : QCOW2_L2_UNALLOCATED;
}

/* Which bytes of the file a compressed cluster claims ("Compressed Clusters Descriptor"). */
struct qcow2_compressed_extent {
	uint64_t offset_bytes; /* where the compressed data starts */
	uint64_t
		length_bytes; /* up to the end of the last sector; 1 to 512 << (cluster_bits - 8) */
	uint64_t sectors;     /* of 512 bytes that it touches, the first one included */
};

/*
 * The bytes that a compressed cluster's L2 entry claims. The compressed stream itself may end
 * earlier, and the last sectors may be cut off by the end of the file. offset_bytes + length_bytes
 * never overflows.
 */
static inline struct qcow2_compressed_extent qcow2_compressed_split(uint64_t entry,
								    unsigned cluster_bits)
{
	const struct qcow2_l2_compressed fields = qcow2_l2_compressed_decode(entry, cluster_bits);
	struct qcow2_compressed_extent extent;

	extent.offset_bytes = fields.offset;
	extent.sectors = fields.additional_sectors + 1;
	extent.length_bytes = extent.sectors * 512 - fields.offset % 512;
	return extent;
}

/* What a bitmap table entry means for its part of the bitmap ("Bitmap table"). */
enum qcow2_bitmap_entry_kind {
	QCOW2_BITMAP_ENTRY_ALL_ZEROES = 0, /* all bits are 0 */
	QCOW2_BITMAP_ENTRY_ALL_ONES = 1,   /* all bits are 1 */
	QCOW2_BITMAP_ENTRY_SERIALIZED = 2, /* the bits are in the cluster at its offset */
	QCOW2_BITMAP_ENTRY_INVALID = 3,    /* has both an offset and the all_ones flag */
};

/* The kind of a bitmap table entry. Reserved bits have no influence. */
static inline enum qcow2_bitmap_entry_kind qcow2_bitmap_entry_classify(uint64_t entry)
{
	const bool ones = (entry & QCOW2_ENTRY_MASK(bitmap_table_entry, all_ones)) != 0;

	if (entry & QCOW2_ENTRY_MASK(bitmap_table_entry, offset))
		return ones ? QCOW2_BITMAP_ENTRY_INVALID : QCOW2_BITMAP_ENTRY_SERIALIZED;
	return ones ? QCOW2_BITMAP_ENTRY_ALL_ONES : QCOW2_BITMAP_ENTRY_ALL_ZEROES;
}

/* ---- read and store refcounts ---- */

/*
 * Reads refcount number index of a refcount block ("Host cluster management"). block is the bytes
 * of the block as stored, or the part that holds the first refcounts; it has at least
 * (index + 1) * refcount_bits bits, which the caller has checked. refcount_bits is
 * 1 << refcount_order: 1, 2, 4, 8, 16, 32 or 64. Refcounts below a byte start at its lowest bit;
 * wider ones are big-endian.
 */
static inline uint64_t qcow2_refcount_get(const uint8_t *block, uint64_t index,
					  unsigned refcount_bits)
{
	const uint64_t at = index * refcount_bits;
	uint64_t refcount = 0;

	if (refcount_bits < 8)
		return (uint64_t)block[at / 8] >> at % 8 & ((1U << refcount_bits) - 1);
	for (unsigned i = 0; i < refcount_bits / 8; i++)
		refcount = refcount << 8 | block[at / 8 + i];
	return refcount;
}

/*
 * Stores refcount number index of a refcount block, the inverse of qcow2_refcount_get(). The other
 * refcounts of the block stay as they are. Bits of refcount above refcount_bits are dropped.
 */
static inline void qcow2_refcount_put(uint8_t *block, uint64_t index, unsigned refcount_bits,
				      uint64_t refcount)
{
	const uint64_t at = index * refcount_bits;

	if (refcount_bits < 8) {
		const unsigned shift = (unsigned)(at % 8);
		const unsigned mask = ((1U << refcount_bits) - 1) << shift;

		block[at / 8] = (uint8_t)((block[at / 8] & ~mask) |
					  ((unsigned)(refcount & 0xff) << shift & mask));
		return;
	}
	for (unsigned i = refcount_bits / 8; i-- > 0; refcount >>= 8)
		block[at / 8 + i] = (uint8_t)refcount;
}

QCOW2_END_DECLS

#endif
