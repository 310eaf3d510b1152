/* SPDX-License-Identifier: MIT */
/* See change_ask.h. */
#include "common/change_ask.h"

#include <unistd.h>

#include "common/ask.h"
#include "common/report.h"

bool change_ask(struct change *change, const struct change_question *question)
{
	if (question->yes || change->as_json || wants_silence(change->command) ||
	    qcow2_plan_count(change->report.plan) == 0 || !isatty(STDIN_FILENO) ||
	    !isatty(STDERR_FILENO))
		return true;
	if (question->show(change) != EXIT_FINE ||
	    finish_output(change->command, &change->out, EXIT_FINE) != EXIT_FINE)
		return false;
	return ask_person(question->text);
}
