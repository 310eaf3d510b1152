/* SPDX-License-Identifier: MIT */
/* Text in XML documents, which are valid UTF-8 whatever bytes come from outside. */
#ifndef CMD_OUT_XML_H
#define CMD_OUT_XML_H

#include "out/spool.h"

#include <qcow2/text.h>

/*
 * Writes a text so that it can stand between tags and in attributes. What cannot be shown, and all
 * that XML forbids, is written as qcow2_text_escape() does: a control byte becomes \x1b, a character
 * \u{202e}. Newlines do as well.
 */
void xml_text(struct spool *out, struct qcow2_bytes text);

/* The same for what qcow2_text_escape() has written: it is not escaped once more. */
void xml_escaped(struct spool *out, const char *text);

#endif
