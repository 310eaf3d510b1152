/* SPDX-License-Identifier: MIT */
/* Policies that are built in, and those of files. */
#ifndef CMD_VET_POLICY_H
#define CMD_VET_POLICY_H

#include "out/spool.h"
#include "vet/run.h"

/*
 * Makes the policy that run->policy_name names: one that is built in, or a file. Returns EXIT_FINE,
 * or EXIT_COULD_NOT when the error has been said.
 */
int vet_policy_make(struct vet_run *run);

/* Writes the policy of the run as a file that could be read again. */
void vet_policy_show(const struct vet_run *run, struct spool *out);

#endif
