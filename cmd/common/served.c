/* SPDX-License-Identifier: MIT */
/* See served.h. */
#include "common/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/report.h"

/* More connections than this make no reader faster. */
#define CONNECTIONS_MOST 4

struct served {
	const char *name;            /* NULL: it was opened */
	struct qcow2_source *source; /* NULL: err says why */
	struct qcow2_error err;
};

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *text)
{
	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

/* alone: no other such image is open. */
static int connect_to(const struct common *common, const char *name, bool alone,
		      struct qcow2_source **out, struct qcow2_error *err)
{
	struct qcow2_nbd_options options = {.size = sizeof(options), .connections = 1};

	if (common) {
		options.deadline_ns = common->limits.deadline_ns;
		if (alone && common->served_readers > 1)
			options.connections = common->served_readers;
	}
	if (options.connections > CONNECTIONS_MOST)
		options.connections = CONNECTIONS_MOST;

	return qcow2_source_open_nbd(name, &options, out, err);
}

static int count_served(char *const *names, int count)
{
	int found = 0;

	for (int i = 0; i < count; i++)
		found += qcow2_source_is_nbd(names[i]);
	return found;
}

int served_connect(const struct command *command, char *const *names, int count)
{
	struct common *common = command->common;
	int found = count_served(names, count);

	if (common && found > 0) {
		common->served = calloc((size_t)found, sizeof(*common->served));
		if (!common->served)
			return report_text(command, names[0], "out of memory");
	}
	for (int i = 0; i < count && common; i++) {
		struct served *served;

		if (!qcow2_source_is_nbd(names[i]))
			continue;
		served = &common->served[common->served_count++];
		/* They are looked at one after the other. */
		if (connect_to(common, names[i], found == 1, &served->source, &served->err))
			served->source = NULL;
		served->name = names[i];
	}
	served_seal(command);
	return EXIT_FINE;
}

void served_seal(const struct command *command)
{
	if (command->common)
		command->common->served_all = true;
}

int served_open(const struct common *common, const char *name, struct qcow2_source **out,
		struct qcow2_error *err)
{
	for (size_t i = 0; common && i < common->served_count; i++) {
		struct served *served = &common->served[i];

		if (!served->name || strcmp(served->name, name) != 0)
			continue;
		served->name = NULL;
		*out = served->source;
		*err = served->err;
		served->source = NULL;
		return *out ? 0 : -1;
	}
	if (common && common->served_all)
		return fail(err, QCOW2_ERROR_UNSUPPORTED,
			    "an image over NBD is only opened if the command line names it as the "
			    "image");
	return connect_to(common, name, true, out, err);
}

void served_release(struct common *common)
{
	for (size_t i = 0; i < common->served_count; i++)
		qcow2_source_close(common->served[i].source);
	free(common->served);
	common->served = NULL;
	common->served_count = 0;
}
