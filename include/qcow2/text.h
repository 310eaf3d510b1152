/* SPDX-License-Identifier: MIT */
/*
 * Text from an image, which may hold anything. These functions make it safe for a terminal, and
 * take it apart for those who write JSON or other encodings.
 *
 * Everything here is pure and may be called from any thread.
 */
#ifndef QCOW2_TEXT_H
#define QCOW2_TEXT_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/*
 * The bytes are well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. No
 * bytes are well-formed. This says nothing about whether the characters are safe to print.
 */
QCOW2_API bool qcow2_text_is_utf8(struct qcow2_bytes text);

/*
 * Decodes the first character of text.
 *
 * *codepoint: set to the character; to U+FFFD if the first byte begins no well-formed character.
 * *valid: set to whether it was well-formed, which tells a real U+FFFD from a wrong byte.
 *
 * Returns how many bytes were used: 1 to 4, 1 if not well-formed, and 0 (with U+FFFD and false) if
 * text is empty.
 */
QCOW2_API size_t qcow2_text_next(struct qcow2_bytes text, uint32_t *codepoint, bool *valid);

/*
 * The character can be shown as it is. False for controls, line separators, characters that are
 * invisible or change the direction of the text, surrogates, noncharacters, tags, and
 * numbers that are no characters.
 */
QCOW2_API bool qcow2_text_is_printable(uint32_t codepoint);

/*
 * Writes text as one line of printable UTF-8. Printable characters stay; a backslash becomes \\;
 * tab, newline and carriage return become \t, \n and \r; a byte that is not UTF-8 becomes \xNN, and
 * any other character \u{N}, hexadecimal with lower-case digits. No two texts give the same result.
 *
 * buffer: size bytes for the result, always NUL terminated if size > 0. A result that does not fit
 * is cut, never within a character or an escape. May be NULL if size is 0.
 *
 * Returns the length of the whole result without the NUL, as snprintf() does; it was cut if that is
 * not below size.
 */
QCOW2_API size_t qcow2_text_escape(struct qcow2_bytes text, char *buffer, size_t size);

QCOW2_END_DECLS

#endif
