/* SPDX-License-Identifier: MIT */
/*
 * Vets many files, and prints the answers in the order of their names. They are vetted in batches, of
 * which each thread takes one file after the other; a batch ends where more of a list would have to
 * be waited for, so that whoever sends names one by one gets an answer to each.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "vet/names.h"
#include "vet/pages.h"
#include "vet/stream.h"

#include <qcow2/source.h>

#define BATCH_FILES 128
#define JOBS_MOST   64U
/* Fewer files are not worth a thread. */
#define THREAD_FILES 8

struct all {
	struct vet_run *run;
	struct spool out;
	struct json json;
	int code;
	/* The batch. */
	char *files[BATCH_FILES];
	struct vet_answer answers[BATCH_FILES];
	size_t count;
	atomic_size_t next;
};

/* The exit code of several is that of the worst: could not look, refused, accepted. */
static void worsen(struct all *all, int code)
{
	if (code == QCOW2_VET_COULD_NOT_LOOK || all->code == QCOW2_VET_ACCEPTED)
		all->code = code;
}

static void print(struct all *all, const struct vet_answer *answer)
{
	bool oslo = all->run->output == VET_OSLO; /* its exit codes are 0 and 1 */

	worsen(all, oslo ? answer->verdict != QCOW2_VET_ACCEPTED : (int)answer->verdict);
	if (answer->verdict == QCOW2_VET_COULD_NOT_LOOK)
		report_error(all->run->command, answer->name, &answer->err);
	if (answer->page.errnum)
		all->out.errnum = answer->page.errnum;
	if (all->run->output != VET_JSON) {
		spool_write(&all->out, answer->page.kept, answer->page.size);
		return;
	}
	json_begin_object(&all->json);
	vet_show_json(&all->json, answer);
	json_end_object(&all->json);
}

static void *work(void *opaque)
{
	struct all *all = opaque;
	size_t i;

	while ((i = atomic_fetch_add(&all->next, 1)) < all->count)
		vet_file(all->run, all->files[i], &all->answers[i]);
	return NULL;
}

static unsigned jobs_for(const struct all *all)
{
	size_t worth = all->count / THREAD_FILES;
	unsigned jobs = all->run->jobs;

	jobs = jobs < JOBS_MOST ? jobs : JOBS_MOST;
	return jobs < worth ? jobs : (unsigned)worth;
}

/* Vets and prints the batch. False if standard output does not take it. */
static bool finish_batch(struct all *all)
{
	unsigned jobs = jobs_for(all), started = 0;
	pthread_t threads[JOBS_MOST];

	atomic_store(&all->next, 0);
	while (started + 1 < jobs && pthread_create(&threads[started], NULL, work, all) == 0)
		started++;
	work(all);
	while (started > 0)
		pthread_join(threads[--started], NULL);
	for (size_t i = 0; i < all->count; i++)
		print(all, &all->answers[i]);
	all->count = 0;
	return all->run->output == VET_JSON ? all->out.errnum == 0 : spool_finish(&all->out);
}

static bool add(struct all *all, char *file)
{
	all->files[all->count++] = file;
	return all->count < BATCH_FILES || finish_batch(all);
}

/* Goes through the list of names. */
static void add_list(struct all *all)
{
	struct names *names = malloc(sizeof(*names));
	struct qcow2_error err;
	bool going = true;
	char *file;
	int more;

	if (!names) {
		worsen(all, report_text(all->run->command, all->run->files_from, "out of memory"));
		return;
	}
	more = names_open(names, all->run->files_from, &err) ? -1 : 1;
	while (going && more > 0) {
		while (going && (file = names_next(names)) != NULL)
			going = add(all, file);
		/* The names are gone when more is read. */
		going = going && finish_batch(all);
		limits_renew_time(all->run->command);
		if (going)
			more = names_read(names, &err);
	}
	if (more < 0)
		worsen(all, report_error(all->run->command, all->run->files_from, &err));
	if (names->fd >= 0)
		names_close(names);
	free(names);
}

static void vet_each(struct all *all, char **files, int count)
{
	bool going = true;

	for (int i = 0; i < count && going; i++)
		going = add(all, files[i]);
	if (going && all->count > 0)
		going = finish_batch(all);
	if (going && all->run->files_from)
		add_list(all);
}

/*
 * Images of a list are not known before it is read. What is found out by files of the system is
 * found out before they are out of reach.
 */
static int enter_sandbox(struct vet_run *run, char **files, int count)
{
	bool list = count > 1 || run->files_from;

	if (run->jobs == 0)
		run->jobs = qcow2_processors();
	run->threads = list ? 1 : run->jobs;
	run->input_is_list = run->files_from && vet_descriptor_of(run->files_from) == STDIN_FILENO;
	if (run->files_from)
		return sandbox_read_any(run->command);
	return sandbox_read_files(run->command,
				  &(struct sandbox_files){.names = files, .count = count});
}

int vet_all(struct vet_run *run, char **files, int count)
{
	struct all *all = calloc(1, sizeof(*all));
	bool list = run->output == VET_JSON && (count > 1 || run->files_from);
	int code;

	if (!all)
		return report_text(run->command, "", "out of memory");
	code = enter_sandbox(run, files, count);
	if (code != EXIT_FINE) {
		free(all);
		return code;
	}
	all->run = run;
	spool_init(&all->out, STDOUT_FILENO);
	for (size_t i = 0; i < BATCH_FILES; i++)
		spool_init(&all->answers[i].page, -1);
	json_init(&all->json, &all->out, 4, false);
	if (list)
		json_begin_array(&all->json);
	vet_each(all, files, count);
	if (list)
		json_end_array(&all->json);
	if (run->output == VET_JSON)
		spool_text(&all->out, "\n");
	code = finish_output(run->command, &all->out, all->code);
	for (size_t i = 0; i < BATCH_FILES; i++)
		vet_answer_release(&all->answers[i]);
	spool_release(&all->out);
	free(all);
	return code;
}
