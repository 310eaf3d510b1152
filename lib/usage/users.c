/* SPDX-License-Identifier: MIT */
/* What each user refers to, what only it refers to, and what deleting several would free. */
#include "base/error.h"
#include "base/search.h"
#include "usage/freed.h"
#include "usage/usage.h"

/* The spans of a set that are not saved states of machines, which belong to their snapshots. */
static uint32_t count_spans(const struct q2_user_span *spans, uint32_t count)
{
	while (count > 0 && spans[count - 1].first >= Q2_USER_MACHINE)
		count--;
	return count;
}

/* By number of user: where sums change. Of what is referred to, and of held_clusters. */
struct changes {
	uint64_t *all, *held;
};

static void change(uint64_t *changes, const struct q2_user_span *spans, uint32_t count, uint64_t by)
{
	for (uint32_t i = 0; i < count; i++) {
		changes[spans[i].first] += by;
		changes[spans[i].last + 1] -= by;
	}
}

/* Adds the clusters of one label to the users. */
static void add_label(struct qcow2_usage *usage, size_t label, const struct changes *changes)
{
	const uint64_t clusters = usage->clusters[label],
		       bytes = clusters << usage->geometry->cluster_bits;
	const struct q2_state *state = &usage->states.states[label];
	uint32_t count;
	const struct q2_user_span *spans = q2_sets_spans(&usage->states.sets, state->set, &count);
	const uint32_t users = count_spans(spans, count);

	change(changes->all, spans, users, bytes);
	if (users == 0 || spans[0].first > Q2_USER_ACTIVE) {
		usage->others_clusters += clusters;
		change(changes->held, spans, users, clusters);
	}
	if (users == 1 && spans[0].first == spans[0].last && spans[0].first >= Q2_USER_ACTIVE)
		usage->users[Q2_NUMBER_OF_USER(spans[0].first)].exclusive_bytes += bytes;
	for (uint32_t i = users; i < count; i++)
		for (uint32_t j = spans[i].first - Q2_USER_MACHINE;
		     j <= spans[i].last - Q2_USER_MACHINE; j++)
			usage->users[1 + j].vm_state_bytes += bytes;
}

/* Turns changes into sums, by number of user. */
static void sum_users(struct qcow2_usage *usage, const struct changes *changes)
{
	uint64_t all = changes->all[Q2_USER_PERMANENT], held = changes->held[Q2_USER_PERMANENT];

	for (size_t i = 0; i < usage->user_count; i++) {
		all += changes->all[Q2_USER_OF_NUMBER(i)];
		held += changes->held[Q2_USER_OF_NUMBER(i)];
		usage->users[i].referenced_bytes = all;
		usage->held_clusters[i] = held;
	}
}

int q2_usage_count_users(struct qcow2_usage *usage)
{
	const uint64_t count = q2_usage_changes(usage);
	struct changes changes;

	if (!usage->options.users)
		return 0;
	changes.all = q2_memory_get(&usage->memory, count, sizeof(*changes.all));
	changes.held = usage->held_clusters =
		q2_memory_get(&usage->memory, count, sizeof(*changes.held));
	if (changes.all && changes.held) {
		for (size_t i = 1; i < usage->label_count; i++)
			add_label(usage, i, &changes);
		sum_users(usage, &changes);
		q2_memory_put(&usage->memory, changes.all, count, sizeof(*changes.all));
		return 0;
	}
	q2_memory_put(&usage->memory, changes.all, count, sizeof(*changes.all));
	return q2_memory_fail(&usage->memory, usage->metadata.err);
}

uint64_t q2_usage_freed_but(const struct qcow2_usage *usage, uint64_t number)
{
	return usage->others_clusters - usage->held_clusters[number];
}

/* How many of the users are below a number. They rise. */
static size_t count_below(const uint64_t *users, size_t count, uint64_t number)
{
	return q2_rising_lower(q2_rising_numbers(users, count), number);
}

/* Whether all users of a state are among those. */
static bool is_freed(const struct qcow2_usage *usage, const struct q2_state *state,
		     const uint64_t *users, size_t count)
{
	uint32_t all;
	const struct q2_user_span *spans = q2_sets_spans(&usage->states.sets, state->set, &all);
	const uint32_t span_count = count_spans(spans, all);

	for (uint32_t i = 0; i < span_count; i++) {
		const uint64_t first = Q2_NUMBER_OF_USER(spans[i].first);

		if (spans[i].first < Q2_USER_ACTIVE ||
		    count_below(users, count, first + (spans[i].last - spans[i].first) + 1) -
				    count_below(users, count, first) !=
			    (size_t)(spans[i].last - spans[i].first) + 1)
			return false;
	}
	return true;
}

int qcow2_usage_freed_bytes(const struct qcow2_usage *usage, const uint64_t *users, size_t count,
			    uint64_t *bytes, struct qcow2_error *err)
{
	uint64_t clusters = 0;

	for (size_t i = 0; i < count; i++)
		if (users[i] >= usage->user_count || (i > 0 && users[i] <= users[i - 1]))
			return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				       "numbers of users have to rise and to be those of users");
	for (size_t i = 1; i < usage->label_count; i++)
		if (usage->clusters[i] > 0 &&
		    is_freed(usage, &usage->states.states[i], users, count))
			clusters += usage->clusters[i];
	*bytes = clusters << usage->geometry->cluster_bits;
	return 0;
}

const struct qcow2_usage_user *qcow2_usage_user_at(const struct qcow2_usage *usage, uint64_t number)
{
	return number < usage->user_count ? &usage->users[number] : NULL;
}

uint64_t qcow2_usage_user_count(const struct qcow2_usage *usage)
{
	return usage->user_count;
}
