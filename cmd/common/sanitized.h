/* SPDX-License-Identifier: MIT */
/*
 * Whether this is a build with sanitizers. Their runtimes map terabytes, and open files and start
 * programs when they report: such a build has no limit of memory and no sandbox.
 */
#ifndef CMD_COMMON_SANITIZED_H
#define CMD_COMMON_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
