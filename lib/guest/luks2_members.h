/* SPDX-License-Identifier: MIT */
/*
 * Members of the objects in a LUKS2 header. A member that is there twice, or of another kind, is as
 * good as none.
 */
#ifndef Q2_GUEST_LUKS2_MEMBERS_H
#define Q2_GUEST_LUKS2_MEMBERS_H

#include <qcow2/base.h>

/* An object; nothing, which has no members, if there is none. */
struct qcow2_bytes q2_luks2_object(struct qcow2_bytes object, const char *name);

/* A string of decimal digits, a number, a string of ASCII, bytes in base64: false if there is none. */
bool q2_luks2_decimal(struct qcow2_bytes object, const char *name, uint64_t *number);
bool q2_luks2_number(struct qcow2_bytes object, const char *name, uint64_t *number);
bool q2_luks2_text(struct qcow2_bytes object, const char *name, char *text, size_t size);
bool q2_luks2_base64(struct qcow2_bytes object, const char *name, uint8_t *bytes, size_t room,
		     size_t *size);

/* Whether there is a string that says this. */
bool q2_luks2_is(struct qcow2_bytes object, const char *name, const char *text);

/* Whether an array is left out, or has nothing in it. */
bool q2_luks2_is_empty(struct qcow2_bytes object, const char *name);

/* Whether an array has a string that says this. */
bool q2_luks2_lists(struct qcow2_bytes array, const char *text);

#endif
