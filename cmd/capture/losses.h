/* SPDX-License-Identifier: MIT */
/* What would be lost if a capture was put back onto an image. */
#ifndef CMD_CAPTURE_LOSSES_H
#define CMD_CAPTURE_LOSSES_H

#include "capture/run.h"

/*
 * Refuses, unless --force is given, what the captured metadata does not know of: guest data that the
 * image keeps where the capture has metadata, nothing, or another part of the disk; what was zeroed;
 * the end of a larger disk; data that a shorter file does not have any more; and bits of bitmaps that
 * were set since. EXIT_FINE, or EXIT_COULD_NOT when it has been said.
 */
int capture_refuse_losses(struct capture_run *run);

#endif
