/* SPDX-License-Identifier: MIT */
/*
 * Text from an image, which may hold anything: names of bitmaps and snapshots, of backing files and
 * data files. These functions make it safe for a terminal, and take it apart for programs that
 * write JSON or other encodings. A name that is printed as it is can move the cursor of a terminal,
 * turn the direction of the line round, or look like another name.
 *
 * Everything here is pure and thread safe.
 */
#ifndef QCOW2_TEXT_H
#define QCOW2_TEXT_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- make text of an image safe to print ---- */

/*
 * Tells whether bytes are well-formed UTF-8: no overlong forms, no surrogates, nothing above
 * U+10FFFF.
 *
 * text: any bytes; none at all are well-formed.
 *
 * Returns whether they are. That says nothing about whether the characters are safe to print:
 * qcow2_text_is_printable() does.
 */
QCOW2_API bool qcow2_text_is_utf8(struct qcow2_bytes text);

/*
 * Decodes the first character of a text. A caller goes through a text by taking the bytes that were
 * used off its front, until there are none left.
 *
 * text: any bytes.
 * *codepoint: set to the character; to U+FFFD if the first byte begins no well-formed character.
 * *valid: set to whether it was well-formed, which tells a real U+FFFD from a wrong byte.
 *
 * Returns how many bytes were used: 1 to 4 for a character, 1 for a byte that begins none, and 0
 * (with U+FFFD and false) if text is empty.
 */
QCOW2_API size_t qcow2_text_next(struct qcow2_bytes text, uint32_t *codepoint, bool *valid);

/*
 * Tells whether a character can be shown as it is.
 *
 * codepoint: any number.
 *
 * Returns false for controls, line separators, characters that are invisible or change the
 * direction of the text, surrogates, noncharacters, tags, and numbers that are no characters; true
 * for all others, those that are not assigned yet included.
 */
QCOW2_API bool qcow2_text_is_printable(uint32_t codepoint);

/*
 * Writes a text as one line of printable UTF-8. Printable characters stay; a backslash becomes \\;
 * tab, newline and carriage return become \t, \n and \r; a byte that is not UTF-8 becomes \xNN, and
 * any other character \u{N}, hexadecimal with lower-case digits. No two texts give the same result,
 * so the result can stand for the text.
 *
 * text: any bytes.
 * buffer: size bytes for the result, always NUL terminated if size is not 0. A result that does not
 *   fit is cut, never within a character or an escape. May be NULL if size is 0.
 *
 * Returns the length of the whole result in bytes without the NUL, as snprintf() does; it was cut
 * if that is not below size. Example:
 *
 *         char line[4096];
 *
 *         qcow2_text_escape(bitmap.name, line, sizeof(line));
 *         printf("%s\n", line);
 */
QCOW2_API size_t qcow2_text_escape(struct qcow2_bytes text, char *buffer, size_t size);

/*
 * Writes a text as one word of a command line for a shell (sh, bash, zsh, fish). Plain words stay as
 * they are, others stand between single quotes. Backslashes, and bytes that are not printable UTF-8,
 * are written in octal, as "$(printf 'a\033b')". The result is printable whatever the text is.
 *
 * text: any bytes. A NUL cannot be a part of a word, and is left out. With a newline at its end the
 *   word is $'a\012', which bash and zsh know, but not every sh.
 * buffer, size: as for qcow2_text_escape(), but a word that does not fit is cut anywhere: do not
 *   show it.
 *
 * Returns the length of the whole result in bytes without the NUL; it was cut if that is not below
 * size.
 */
QCOW2_API size_t qcow2_text_shell(struct qcow2_bytes text, char *buffer, size_t size);

/*
 * Writes the name of a file as a word of a command line, as qcow2_text_shell() does. A name that
 * begins with a hyphen, which would be an option, or that has a colon in its first part, which is a
 * protocol for QEMU, gets "./" in front, but not a name of qcow2_source_is_nbd(), which is no file.
 *
 * file: NUL terminated.
 * buffer, size: as for qcow2_text_shell().
 *
 * Returns the length of the whole result in bytes without the NUL; it was cut if that is not below
 * size.
 */
QCOW2_API size_t qcow2_text_shell_file(const char *file, char *buffer, size_t size);

QCOW2_END_DECLS

#endif
