/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "check/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check/pages.h"
#include "common/chain.h"
#include "common/each_file.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "out/progress.h"
#include "out/wrap.h"

/* The most problems of a kind that are kept and shown, unless all are asked for. */
#define SHOWN_TO_PEOPLE 5

/* The check of one image. */
struct one {
	struct check_run *run;
	struct check_report report;
	struct progress progress;
	int failed; /* exit code of what went wrong while the page was written, or 0 */
};

/* How bad an exit code is among others. */
static int badness(int code)
{
	switch (code) {
	case EXIT_FINE:
		return 0;
	case EXIT_NOT_QCOW2:
		return 1;
	case EXIT_LEAKS:
		return 2;
	case EXIT_MALFORMED:
		return 3;
	default:
		return 4;
	}
}

static void worsen(struct check_run *run, int code)
{
	if (badness(code) > badness(run->code))
		run->code = code;
}

/* Says why an image could not be checked. Returns the exit code. */
static int fail(struct check_run *run, const char *file, const struct qcow2_error *err)
{
	run->failed++;
	return report_error(run->command, file, err);
}

/* The same of what a chain could not open or not follow. The first file may be no image. */
static int refuse(struct check_run *run, const struct chain_link *link, bool first,
		  const struct qcow2_error *err)
{
	/* Without a source it is a directory, or something else that is no file. */
	bool other = err->code == QCOW2_ERROR_NOT_QCOW2 && link->source;

	report_error(run->command, link->file, err);
	if (!first) {
		run->open_chains++;
		return EXIT_COULD_NOT;
	}
	if (other)
		run->not_qcow2++;
	else
		run->failed++;
	return other ? EXIT_NOT_QCOW2 : EXIT_COULD_NOT;
}

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	return check_report_keep(&((struct one *)opaque)->report, problem) ? 0 : 1;
}

static int hear_range(void *opaque, const struct qcow2_damage_range *range)
{
	return check_damage_hear(&((struct one *)opaque)->report.damage, range);
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct one *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

static int exit_code(const struct qcow2_check_result *result)
{
	if (result->corruptions > 0)
		return EXIT_MALFORMED;
	return result->leaks > 0 ? EXIT_LEAKS : EXIT_FINE;
}

static struct qcow2_error out_of_memory(void)
{
	return (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
}

/*
 * See struct check_report. Problems that were not kept are found by another check, so that memory
 * stays small.
 */
static void tell_all(void *opaque, const struct qcow2_problem_kind *only,
		     qcow2_problem_callback hear, void *page)
{
	struct one *one = opaque;
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = one->run->threads,
		.memory_limit_bytes = limits_memory(one->run->command),
		.only = only,
		.deep = one->run->deep,
		.lost_mappings = true,
		.problem = hear,
		.opaque = page,
	};
	struct qcow2_error err;

	if (one->failed == 0 && qcow2_check(one->report.image, &how, NULL, &err))
		one->failed = fail(one->run, one->report.file, &err);
}

/* As tell_all(), of damaged ranges. */
static void tell_ranges(void *opaque,
			int (*hear)(void *page, const struct qcow2_damage_range *range), void *page)
{
	struct one *one = opaque;
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = one->run->threads,
		.memory_limit_bytes = limits_memory(one->run->command),
		.deep = one->run->deep,
		.damage = true,
		.damage_range = hear,
		.opaque = page,
	};
	struct qcow2_check_result *again = NULL;
	struct qcow2_error err;

	if (one->failed != 0)
		return;
	if (qcow2_check(one->report.image, &how, &again, &err)) {
		one->failed = fail(one->run, one->report.file, &err);
	} else if (!again->damage_exact && one->report.result->damage_exact) {
		/* The sums are of the first check, and exact: these ranges are others. */
		err = out_of_memory();
		one->failed = fail(one->run, one->report.file, &err);
	}
	qcow2_check_result_free(again);
}

/* Writes the page. Half of one is worse than none: it is taken back. Returns the exit code. */
static int show(struct one *one)
{
	struct check_run *run = one->run;
	const struct spool before = run->out;
	const struct json json_before = run->json;

	if (run->as_json) {
		check_show_json(&run->json, &one->report);
	} else if (!run->quiet) {
		if (run->shown > 0)
			spool_text(&run->out, "\n");
		check_show_human(&run->out, &one->report);
	}
	if (one->failed != 0) {
		if (run->out.written == before.written) {
			run->out.size = before.size;
			run->json = json_before;
		}
		return one->failed;
	}
	run->shown++;
	run->verdicts[check_verdict(&one->report)]++;
	return exit_code(one->report.result);
}

static void prepare(struct one *one, const struct qcow2_image *image)
{
	const struct check_run *run = one->run;

	one->report.image = image;
	one->report.colour = wants_colour(run->command);
	one->report.terminal = isatty(STDOUT_FILENO);
	one->report.columns = terminal_columns();
	one->report.verbose = run->verbose;
	one->report.deep = run->deep;
	one->report.opaque = one;
	if (run->all)
		one->report.tell_all = tell_all;
	if (run->ranges)
		one->report.tell_ranges = tell_ranges;
}

static int check_image(struct one *one, const struct qcow2_image *image)
{
	const struct check_run *run = one->run;
	bool many = run->as_json || run->all || run->verbose;
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = run->threads,
		.memory_limit_bytes = limits_memory(run->command),
		.max_per_kind = many ? CHECK_SHOWN_TO_PROGRAMS : SHOWN_TO_PEOPLE,
		.deep = run->deep,
		.damage = true,
		.lost_mappings = true,
		.problem = hear_problem,
		.damage_range = hear_range,
		.progress = hear_progress,
		.opaque = one,
	};
	struct qcow2_error err;
	int failed = qcow2_check(image, &how, &one->report.result, &err);

	progress_end(&one->progress);
	if (one->report.short_of_memory)
		err = out_of_memory();
	if (failed || one->report.short_of_memory)
		return fail(one->run, one->report.file, &err);
	prepare(one, image);
	if (check_causes(&one->report, one->report.causes, &one->report.cause_count, &err))
		return fail(one->run, one->report.file, &err);
	return show(one);
}

/* A backing file of another format: raw ones have nothing that could be wrong. */
static int show_other(struct check_run *run, const struct chain_link *link)
{
	bool raw = strcmp(link->format, "raw") == 0;

	if (raw)
		run->raw++;
	else
		run->not_qcow2++;
	run->shown++;
	if (run->as_json)
		check_show_other_json(&run->json, link);
	else if (!run->quiet)
		check_show_other_human(&run->out, link);
	return raw ? EXIT_FINE : EXIT_NOT_QCOW2;
}

static int check_link(struct check_run *run, const struct chain_link *link)
{
	struct one one = {.run = run, .report = {.file = link->file}};
	int code;

	if (!link->image)
		return show_other(run, link);
	progress_init(&one.progress);
	if (run->progress)
		progress_force(&one.progress);
	warn_in_use(run->command, link->file, link->source);
	code = check_image(&one, link->image);
	check_report_release(&one.report);
	return code;
}

/* Checks a file, and if that is asked for, all files that it is backed by. */
static void check_file(void *opaque, const char *file)
{
	struct check_run *run = opaque;
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET, .text = "out of memory"};
	struct chain *chain = malloc(sizeof(*chain));
	bool first = true;
	int more;

	if (!chain) {
		worsen(run, fail(run, file, &err));
		return;
	}
	chain_begin(chain, file);
	chain->common = run->command->common;
	do {
		more = chain_next(chain, &err);
		if (more > 0)
			worsen(run, check_link(run, &chain->link));
		else if (more < 0)
			worsen(run, refuse(run, &chain->link, first, &err));
		first = false;
	} while (more > 0 && run->chain);
	chain_end(chain);
	free(chain);
}

static void count_word(struct spool *out, const char **between, size_t count, const char *word)
{
	if (count == 0)
		return;
	spool_print(out, "%s%zu %s", *between, count, word);
	*between = ", ";
}

/* The last line for several images: how many of them are what. */
static void show_sum(struct check_run *run)
{
	static const char *const words[] = {
		[VERDICT_SOUND] = "sound",
		[VERDICT_LEAKS] = "intact, but wasting space",
		[VERDICT_NOT_CLOSED] = "not closed",
		[VERDICT_MARKED] = "marked as corrupt",
		[VERDICT_LOST] = "with guest data that may be lost",
		[VERDICT_CORRUPT] = "corrupt",
	};
	size_t count = run->raw + run->not_qcow2 + run->failed;
	const char *between = ": ";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		count += run->verdicts[i];
	if (count + run->open_chains < 2)
		return;
	spool_print(&run->out, "\n%zu image%s", count, count == 1 ? "" : "s");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		count_word(&run->out, &between, run->verdicts[i], words[i]);
	count_word(&run->out, &between, run->raw, "raw");
	count_word(&run->out, &between, run->not_qcow2, "not qcow2");
	count_word(&run->out, &between, run->failed, "not checked");
	between = "; ";
	count_word(&run->out, &between, run->open_chains,
		   run->open_chains == 1
			   ? "chain of backing files was not followed to its end"
			   : "chains of backing files were not followed to their ends");
	spool_text(&run->out, "\n");
}

int check_run(struct check_run *run, char **files, int count)
{
	int code;

	if (run->threads == 0)
		run->threads = qcow2_processors();
	served_readers(run->command, run->threads);
	code = sandbox_read_files(run->command, &(struct sandbox_files){.names = files,
									.count = count,
									.chains = run->chain,
									.undo_folders = true});
	if (code != EXIT_FINE)
		return code;
	run->list = count > 1 || run->chain;
	files_show(&(struct files){.names = files,
				   .count = count,
				   .json = run->as_json ? &run->json : NULL,
				   .list = run->list},
		   &run->out, check_file, run);
	if (run->as_json)
		spool_text(&run->out, "\n");
	else if (run->list && !run->quiet)
		show_sum(run);
	code = run->code;
	if (run->shown > 0)
		code = finish_output(run->command, &run->out, code);
	spool_release(&run->out);
	return code;
}
