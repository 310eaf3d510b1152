/* SPDX-License-Identifier: MIT */
/*
 * The functions of libnbd that are used here. libnbd brings a dozen libraries with it, TLS among
 * them, and most programs that link this library never open an image over NBD: it is loaded when the
 * first one does.
 */
#ifndef Q2_SOURCE_NBD_CALLS_H
#define Q2_SOURCE_NBD_CALLS_H

#include <libnbd.h>
#include <qcow2/error.h>

#define Q2_NBD_CALLS(call)                                                                         \
	call(create);                                                                              \
	call(close);                                                                               \
	call(get_error);                                                                           \
	call(get_errno);                                                                           \
	call(set_uri_allow_tls);                                                                   \
	call(set_uri_allow_transports);                                                            \
	call(set_uri_allow_local_file);                                                            \
	call(add_meta_context);                                                                    \
	call(aio_connect_uri);                                                                     \
	call(aio_is_connecting);                                                                   \
	call(aio_is_ready);                                                                        \
	call(aio_is_dead);                                                                         \
	call(aio_is_closed);                                                                       \
	call(poll);                                                                                \
	call(get_size);                                                                            \
	call(get_block_size);                                                                      \
	call(can_multi_conn);                                                                      \
	call(can_meta_context);                                                                    \
	call(aio_pread);                                                                           \
	call(aio_block_status);                                                                    \
	call(aio_command_completed);                                                               \
	call(aio_disconnect)

/* calls->poll() is nbd_poll(), and so on. */
struct q2_nbd_calls {
#define Q2_NBD_MEMBER(name) __typeof__(nbd_##name) *name
	Q2_NBD_CALLS(Q2_NBD_MEMBER);
#undef Q2_NBD_MEMBER
};

/*
 * Loads libnbd, which stays loaded until the process ends. Errors: QCOW2_ERROR_UNSUPPORTED (it is
 * not installed, or too old).
 */
int q2_nbd_load(struct q2_nbd_calls *calls, struct qcow2_error *err);

/* What the last call of this thread that failed gives as its reason: an errno value, never 0. */
int q2_nbd_errnum(const struct q2_nbd_calls *calls);

/* Fails with what libnbd says of the last call of this thread. */
int q2_nbd_fail(const struct q2_nbd_calls *calls, struct qcow2_error *err);

#endif
