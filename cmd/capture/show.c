/* SPDX-License-Identifier: MIT */
/* What qcow2 capture says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture/run.h"
#include "common/report.h"
#include "out/human.h"
#include "out/json.h"

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void put_document(struct spool *out, const struct capture_run *run)
{
	struct json json;

	json_init(&json, out, 2, false);
	json_begin_object(&json);
	json_text_member(&json, "filename", bytes_of(run->file));
	json_text_member(&json, "capture", bytes_of(run->to));
	json_text_member(&json, "manifest", bytes_of(run->manifest));
	json_number_member(&json, "stored", run->stored_bytes);
	capture_manifest_members(&json, &run->facts);
	json_end_object(&json);
	spool_text(out, "\n");
}

static void put_left_out(struct spool *out, const struct capture_run *run)
{
	const struct capture_facts *facts = &run->facts;
	char human[HUMAN_MAX];

	spool_print(out, "left out:   %s%s\n", human_size(facts->left_out_bytes, human),
		    facts->left_out_bytes ? ": guest data, and what nothing uses" : "");
	if (facts->keys_bytes > 0)
		spool_print(out,
			    "            of it %s of LUKS: keys, digests and salts are never "
			    "captured\n",
			    human_size(facts->keys_bytes, human));
	if (facts->marked > 0)
		spool_print(out,
			    "            %" PRIu64 " leaked clusters hold something, and have a "
			    "mark instead\n",
			    facts->marked);
}

static void put_problems(struct spool *out, const struct capture_facts *facts)
{
	if (!facts->has_problems)
		return;
	spool_print(out,
		    "problems:   %" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64
		    " warnings, in both\n",
		    facts->corruptions, facts->leak_count, facts->warnings);
}

static void put_page(struct spool *out, const struct capture_run *run)
{
	const struct capture_facts *facts = &run->facts;
	char one[HUMAN_MAX], other[HUMAN_MAX], name[NEW_NAME_MAX];

	qcow2_text_escape(bytes_of(run->to), name, sizeof(name));
	spool_print(out, "captured:   %s of metadata%s", human_size(facts->metadata_bytes, one),
		    facts->whole ? "" : ", the header alone");
	if (facts->compressed_bytes > 0)
		spool_print(out, ", %s of compressed data",
			    human_size(facts->compressed_bytes, one));
	spool_print(out, "\nfile:       %s, %s long, of which %s are stored\n", name,
		    human_size(facts->size_bytes, one), human_size(run->stored_bytes, other));
	put_left_out(out, run);
	if (facts->redacted)
		spool_print(out, "names:      %" PRIu64 " replaced\n", facts->names);
	else
		spool_text(out, "names:      as they are: --redact replaces them\n");
	put_problems(out, facts);
	qcow2_text_escape(bytes_of(run->manifest), name, sizeof(name));
	spool_print(out, "manifest:   %s, which --apply needs\nsha256:     ", name);
	for (size_t i = 0; i < HASH_DIGEST_BYTES; i++)
		spool_print(out, "%02x", facts->digest[i]);
	spool_text(out, "\n");
}

int capture_show(struct capture_run *run)
{
	int code = run->facts.whole ? EXIT_FINE : EXIT_MALFORMED;
	char text[256];
	struct spool out;

	if (!run->facts.whole) {
		snprintf(text, sizeof(text),
			 "only its header was captured: %s; 'qcow2 dump' shows it, 'qcow2 rescue' "
			 "looks for the rest",
			 run->content.header_alone);
		report_text(run->command, run->file, text);
	}
	spool_init(&out, STDOUT_FILENO);
	if (run->json)
		put_document(&out, run);
	else
		put_page(&out, run);
	code = finish_output(run->command, &out, code);
	spool_release(&out);
	return code;
}
