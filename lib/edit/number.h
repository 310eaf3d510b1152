/* SPDX-License-Identifier: MIT */
/* Numbers as people write them. */
#ifndef QCOW2_EDIT_NUMBER_H
#define QCOW2_EDIT_NUMBER_H

#include <qcow2/base.h>

/*
 * Decimal, 0x, 0o or 0b; decimal ones may have k, M, G, T, P or E behind them, powers of 1024.
 * False if it is none, or over 64 bits.
 */
bool qcow2_number_parse(const char *text, uint64_t *value);

#endif
