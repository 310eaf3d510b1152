/* SPDX-License-Identifier: MIT */
/* Images that arrive through a pipe. */
#ifndef CMD_VET_STREAM_H
#define CMD_VET_STREAM_H

#include "vet/run.h"

/*
 * The descriptor that a name stands for, if it has to be read as a stream: "-" is standard input,
 * "/dev/fd/N" and "/dev/stdin" are open descriptors. -1: it is a file.
 */
int vet_descriptor_of(const char *file);

/* Vets what can be read from a descriptor, until it is refused. Returns 0, or -1 with the error. */
int vet_stream(struct vet_answer *answer, int fd, const struct qcow2_vet_options *options);

#endif
