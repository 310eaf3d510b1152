/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the vetting: the input is an image. Fed in pieces, it gets the verdict that it gets as a
 * file, or none because something has passed; reasons agree with verdicts; and a stricter policy
 * accepts nothing that a laxer one refuses.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#define IMAGE_MOST ((size_t)6 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static void count(void *opaque, const struct qcow2_vet_reason *reason)
{
	uint64_t *told = opaque;

	demand(qcow2_vet_rule_get(reason->rule->number) == reason->rule);
	demand(reason->text[0] && strlen(reason->field) < sizeof(reason->field));
	demand(qcow2_text_is_utf8(
		(struct qcow2_bytes){(const uint8_t *)reason->text, strlen(reason->text)}));
	demand(!reason->has_limit || reason->value > reason->limit);
	++*told;
}

static void judge(const struct qcow2_vet_result *result, uint64_t told)
{
	demand((result->verdict == QCOW2_VET_REFUSED) == (result->reasons > 0));
	demand(told <= result->reasons && (told > 0) == (result->reasons > 0));
	demand(result->kind && result->size == sizeof(*result));
}

static enum qcow2_vet_verdict vet_file(const uint8_t *data, size_t size,
				       const struct qcow2_vet_policy *policy, bool deep)
{
	uint64_t told = 0;
	const struct qcow2_vet_options options = {.size = sizeof(options),
						  .policy = policy,
						  .deep = deep,
						  .threads = 1,
						  .reason = count,
						  .opaque = &told};
	struct qcow2_vet_result result = {.size = sizeof(result)};
	struct qcow2_source *source;
	struct qcow2_error err;

	demand(qcow2_source_from_memory(data, size, &source, &err) == 0);
	if (qcow2_vet(source, &options, &result, &err)) {
		/* A check may need more memory than it is allowed. */
		demand(err.code == QCOW2_ERROR_LIMIT || err.code == QCOW2_ERROR_MEMORY);
		result.verdict = QCOW2_VET_COULD_NOT_LOOK;
	} else {
		judge(&result, told);
		demand(result.verdict != QCOW2_VET_COULD_NOT_LOOK && result.unapplied == 0);
	}
	qcow2_source_close(source);
	return result.verdict;
}

/* The first byte says how long pieces are. */
static enum qcow2_vet_verdict vet_pieces(const uint8_t *data, size_t size,
					 const struct qcow2_vet_policy *policy)
{
	uint64_t told = 0;
	const struct qcow2_vet_options options = {.size = sizeof(options),
						  .policy = policy,
						  .threads = 1,
						  .reason = count,
						  .opaque = &told};
	struct qcow2_vet_result result = {.size = sizeof(result)};
	size_t step = (size_t)64 << (size > 0 ? data[size - 1] % 14 : 0), part;
	struct qcow2_vet_stream *stream;
	struct qcow2_error err;
	int more = 0;

	demand(qcow2_vet_stream_open(&options, &stream, &err) == 0);
	for (size_t at = 0; more == 0 && at < size; at += part) {
		part = size - at < step ? size - at : step;
		more = qcow2_vet_stream_feed(stream, data + at, part, &err);
		demand(more >= 0);
	}
	demand(qcow2_vet_stream_end(stream, &result, &err) == 0);
	judge(&result, told);
	demand((result.unapplied != 0) || result.verdict != QCOW2_VET_COULD_NOT_LOOK);
	demand(more == 0 || result.verdict == QCOW2_VET_REFUSED);
	qcow2_vet_stream_close(stream);
	return result.verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum qcow2_vet_verdict upload, other;
	struct qcow2_vet_policy *policy;
	struct qcow2_error err;

	if (size > IMAGE_MOST)
		return 0;
	upload = vet_file(data, size, NULL, false);
	other = vet_pieces(data, size, NULL);
	demand(other == upload || other == QCOW2_VET_COULD_NOT_LOOK);
	demand(qcow2_vet_policy_new("strict", &policy, &err) == 0);
	if (vet_file(data, size, policy, true) == QCOW2_VET_ACCEPTED)
		demand(upload == QCOW2_VET_ACCEPTED);
	qcow2_vet_policy_free(policy);
	demand(qcow2_vet_policy_new("chain", &policy, &err) == 0);
	other = vet_file(data, size, policy, false);
	demand(upload != QCOW2_VET_ACCEPTED || other != QCOW2_VET_REFUSED);
	qcow2_vet_policy_free(policy);
	return 0;
}
