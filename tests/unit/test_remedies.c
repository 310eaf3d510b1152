/* SPDX-License-Identifier: MIT */
/*
 * The table of remedies, what is derived from it, and their commands; words for a shell, which a
 * real one reads.
 */
#include <qcow2/remedy.h>
#include <qcow2/text.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct qcow2_remedy *remedy_of(enum qcow2_problem_id id)
{
	return qcow2_problem_kind_get(id)->remedy;
}

static void every_kind_has_one(void **state)
{
	const struct qcow2_problem_kind *kind = NULL;
	size_t repairable = 0;

	(void)state;
	while ((kind = qcow2_problem_kind_next(kind))) {
		assert_non_null(kind->remedy);
		assert_ptr_equal(qcow2_remedy_find(kind->remedy->id), kind->remedy);
		assert_int_equal(kind->repairable, kind->remedy->effect == QCOW2_REMEDY_LOSSLESS &&
							   kind->remedy->command[0] != '\0');
		repairable += kind->repairable;
	}
	assert_true(repairable > 20);
}

static void every_row_is_whole(void **state)
{
	const struct qcow2_remedy *remedy = NULL;

	(void)state;
	while ((remedy = qcow2_remedy_next(remedy))) {
		bool can_run = remedy->effect == QCOW2_REMEDY_LOSSLESS ||
			       remedy->effect == QCOW2_REMEDY_COSTS;

		assert_int_equal(remedy->size, sizeof(*remedy));
		assert_true(remedy->does[0] != '\0' && remedy->qemu[0] != '\0');
		if (can_run)
			assert_true(remedy->command[0] != '\0');
		if (remedy->effect == QCOW2_REMEDY_COSTS)
			assert_true(remedy->cost[0] != '\0');
		assert_string_not_equal(qcow2_remedy_effect_name(remedy->effect), "unknown");
	}
	assert_string_equal(qcow2_remedy_effect_name((enum qcow2_remedy_effect)99), "unknown");
	assert_null(qcow2_remedy_find("nothing"));
}

static void assert_command(enum qcow2_problem_id id, const char *file,
			   const struct qcow2_problem *const *problems, size_t count,
			   const char *wanted)
{
	char line[512];
	size_t length =
		qcow2_remedy_command(remedy_of(id), file, problems, count, line, sizeof(line));

	assert_string_equal(line, wanted);
	assert_int_equal(length, strlen(wanted));
}

static void commands_name_what_they_mend(void **state)
{
	const struct qcow2_problem first = {
		.kind = qcow2_problem_kind_get(QCOW2_PROBLEM_L1_ENTRY_RESERVED),
		.where = "l1/3",
		.has_found = true,
		.found = UINT64_C(0xc100000000030001),
	};
	const struct qcow2_problem *problems[] = {&first};

	(void)state;
	assert_command(QCOW2_PROBLEM_L1_ENTRY_RESERVED, "a b", problems, 1, "qcow2 repair 'a b'");
	assert_command(QCOW2_PROBLEM_L1_ENTRY_RESERVED, NULL, NULL, 0, "qcow2 repair IMAGE");
	assert_command(QCOW2_PROBLEM_SUBCLUSTER_BOTH, "-a", problems, 1, "qcow2 repair --all ./-a");
	assert_command(QCOW2_PROBLEM_COMPRESSED_OVERLAP, "x:y", problems, 1,
		       "qcow2 repair --deep ./x:y");
	assert_command(QCOW2_PROBLEM_BITMAP_TYPE, "/dev/a/b", NULL, 0,
		       "qcow2 repair --all /dev/a/b");
	assert_command(QCOW2_PROBLEM_LUKS_MAGIC, "x", problems, 1, "");
}

static void commands_are_cut(void **state)
{
	char line[8];

	(void)state;
	assert_int_equal(qcow2_remedy_command(remedy_of(QCOW2_PROBLEM_BITMAP_TYPE), "image", NULL,
					      0, line, sizeof(line)),
			 strlen("qcow2 repair --all image"));
	assert_string_equal(line, "qcow2 r");
	assert_int_equal(qcow2_remedy_command(remedy_of(QCOW2_PROBLEM_BITMAP_TYPE), "image", NULL,
					      0, NULL, 0),
			 strlen("qcow2 repair --all image"));
}

static void assert_word(const char *text, const char *wanted)
{
	char word[128];

	qcow2_text_shell((struct qcow2_bytes){(const uint8_t *)text, strlen(text)}, word,
			 sizeof(word));
	assert_string_equal(word, wanted);
}

static void words_are_as_plain_as_can_be(void **state)
{
	char word[64];

	(void)state;
	assert_word("disk.qcow2", "disk.qcow2");
	assert_word("", "''");
	assert_word("it's", "'it'\\''s'");
	assert_word("b\xc3\xa4 x", "'b\xc3\xa4 x'");
	assert_word("a\033[2J%!", "\"$(printf 'a\\033[2J%%\\041')\"");
	assert_word("\xff", "\"$(printf '\\377')\"");
	assert_word("a\\b", "\"$(printf 'a\\134b')\"");
	/* A substitution would lose the end, and the word would be another name. */
	assert_word("a%\n", "$'a%\\012'");
	assert_word("it's\na\n\n", "$'it\\047s\\012a\\012\\012'");
	qcow2_text_shell_file("-r", word, sizeof(word));
	assert_string_equal(word, "./-r");
	qcow2_text_shell_file("json:{}", word, sizeof(word));
	assert_string_equal(word, "./'json:{}'");
	qcow2_text_shell_file("a/b:c", word, sizeof(word));
	assert_string_equal(word, "a/b:c");
}

/* Hands a word to a shell, and compares what the shell makes of it. */
static void assert_shell_reads(const uint8_t *text, size_t size)
{
	char word[2048], line[2200];
	uint8_t read[600];
	FILE *shell;
	size_t count;

	assert_true(qcow2_text_shell((struct qcow2_bytes){text, size}, word, sizeof(word)) <
		    sizeof(word));
	for (const char *at = word; *at; at++)
		assert_true(*at != '\n' && *at != '\033');
	snprintf(line, sizeof(line), "exec printf '%%s.' %s", word);
	shell = popen(line, "r");
	assert_non_null(shell);
	count = fread(read, 1, sizeof(read), shell);
	assert_int_equal(pclose(shell), 0);
	assert_int_equal(count, size + 1);
	assert_memory_equal(read, text, size);
}

static void shells_read_every_byte(void **state)
{
	uint8_t all[256];
	uint32_t random = 7;

	(void)state;
	for (size_t i = 0; i < 255; i++)
		all[i] = (uint8_t)(i + 1);
	assert_shell_reads(all, 255);
	for (size_t i = 0; i < 94; i++)
		all[i] = (uint8_t)(i + ' ');
	assert_shell_reads(all, 94);
	for (unsigned round = 0; round < 30; round++) {
		for (size_t i = 0; i < 20; i++) {
			random = random * 1103515245 + 12345;
			all[i] = (uint8_t)("-'\"\\$`!%\n\033 a\xc3\xa4*&;#~="[(random >> 16) % 20]);
		}
		all[20] = 'x';
		assert_shell_reads(all, 21);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_one),
		cmocka_unit_test(every_row_is_whole),
		cmocka_unit_test(commands_name_what_they_mend),
		cmocka_unit_test(commands_are_cut),
		cmocka_unit_test(words_are_as_plain_as_can_be),
		cmocka_unit_test(shells_read_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
