/* SPDX-License-Identifier: MIT */
/* See nbd_calls.h. */
#include <qcow2/error.h>

#ifdef QCOW2_NBD
#include "source/nbd_calls.h"

#include "base/error.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* The number is that of its interface, which never changes. */
#define LIBRARY "libnbd.so.0"

/* ISO C knows no way from a pointer to data to one to a function, but their bytes are the same. */
static bool find(void *library, const char *name, void *pointer)
{
	void *found = dlsym(library, name);

	memcpy(pointer, &found, sizeof(found));
	return found != NULL;
}

int q2_nbd_load(struct q2_nbd_calls *calls, struct qcow2_error *err)
{
	/* Threads that end later still call its destructors: it must not go. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	const char *missing = NULL;

	if (!library)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "images over NBD need libnbd, which cannot be loaded: %s",
			       dlerror());
#define FIND(name)                                                                                 \
	if (!find(library, "nbd_" #name, &calls->name))                                            \
	missing = "nbd_" #name
	Q2_NBD_CALLS(FIND);
#undef FIND
	(void)dlclose(library);
	if (missing)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "images over NBD need a newer libnbd: this one has no %s()",
			       missing);
	return 0;
}

int q2_nbd_errnum(const struct q2_nbd_calls *calls)
{
	int errnum = calls->get_errno();

	/* A handle whose server has gone says that it is not connected. */
	if (errnum == ENOTCONN || errnum == ESHUTDOWN)
		return ECONNRESET;
	return errnum > 0 ? errnum : EIO;
}

int q2_nbd_fail(const struct q2_nbd_calls *calls, struct qcow2_error *err)
{
	const char *text = calls->get_error(), *colon;
	int errnum = q2_nbd_errnum(calls);

	if (!text || !text[0])
		text = strerror(errnum);
	/* The name of the function that failed says nothing to a user. */
	colon = strstr(text, ": ");
	if (colon && strncmp(text, "nbd_", 4) == 0)
		text = colon + 2;
	(void)q2_fail(err, errnum == ENOMEM ? QCOW2_ERROR_MEMORY : QCOW2_ERROR_IO, QCOW2_NO_OFFSET,
		      "cannot open over NBD: %s", text);
	if (err)
		err->errnum = errnum;
	return -1;
}
#endif
