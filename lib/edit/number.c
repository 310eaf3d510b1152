/* SPDX-License-Identifier: MIT */
/* See number.h. */
#include "edit/number.h"

#include <string.h>

#include "base/checked.h"

/* 36 for what is no digit. */
static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 36;
}

static unsigned base_of(const char **text)
{
	static const struct {
		char letter;
		unsigned base;
	} bases[] = {{'x', 16}, {'X', 16}, {'o', 8}, {'O', 8}, {'b', 2}, {'B', 2}};

	for (size_t i = 0; (*text)[0] == '0' && i < sizeof(bases) / sizeof(bases[0]); i++) {
		if ((*text)[1] == bases[i].letter) {
			*text += 2;
			return bases[i].base;
		}
	}
	return 10;
}

bool qcow2_number_parse(const char *text, uint64_t *value)
{
	static const char suffixes[] = "kMGTPE";
	unsigned base = base_of(&text);
	const char *suffix;

	*value = 0;
	if (digit(*text) >= base)
		return false;
	for (; digit(*text) < base; text++)
		if (qcow2_mul_u64(*value, base, value) ||
		    qcow2_add_u64(*value, digit(*text), value))
			return false;
	if (*text == '\0')
		return true;
	suffix = strchr(suffixes, *text == 'K' ? 'k' : *text);
	if (!suffix || text[1] != '\0' || base != 10)
		return false;
	return !qcow2_mul_u64(*value, UINT64_C(1) << (10 * (suffix - suffixes + 1)), value);
}
