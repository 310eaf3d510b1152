/* SPDX-License-Identifier: MIT */
/*
 * The plugin of nbdkit: serves the disk of a QCOW2 image over NBD, read-only, from several threads at
 * once. See nbdkit-plugin(3) for what the functions of the table at the end mean.
 */
#include <stdio.h>

#include "nbdkit/extents.h"
#include "nbdkit/report.h"
#include "nbdkit/served.h"
#include "nbdkit/settings.h"

#include <qcow2/version.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* Smaller requests cost a client more than they save. */
#define PREFERRED_LEAST_BYTES (UINT32_C(64) << 10)
/* More than nbdkit takes in one request. */
#define REQUEST_MOST_BYTES (UINT32_C(64) << 20)

/* nbdkit has one plugin in a process, and hands nothing of ours to its functions before a client. */
static struct settings settings;
static struct served served;

static int config(const char *key, const char *value)
{
	return settings_take(&settings, key, value);
}

static int config_complete(void)
{
	return settings_check(&settings);
}

/* Before nbdkit goes to the background, so that errors are seen and relative names are right. */
static int get_ready(void)
{
	return served_open(&served, &settings);
}

static void unload(void)
{
	served_close(&served);
	settings_release(&settings);
}

static void dump_plugin(void)
{
	printf("libqcow2_version=%s\n", qcow2_version());
}

static void *open_connection(int readonly)
{
	(void)readonly;
	return &served;
}

static int64_t get_size(void *handle)
{
	(void)handle;
	return (int64_t)qcow2_disk_size_bytes(served.disk);
}

/* Nothing is ever written, so all connections see the same. */
static int can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

/* nbdkit reads what is to be cached: that brings it into the caches of the system and of the disk. */
static int can_cache(void *handle)
{
	(void)handle;
	return NBDKIT_CACHE_EMULATE;
}

static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	uint64_t cluster = served_cluster_bytes(&served);

	(void)handle;
	*minimum = 1;
	*maximum = REQUEST_MOST_BYTES;
	*preferred = PREFERRED_LEAST_BYTES;
	if (cluster > *preferred)
		*preferred = cluster < *maximum ? (uint32_t)cluster : *maximum;
	return 0;
}

static int read_disk(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct qcow2_error err;

	(void)handle;
	(void)flags;
	if (qcow2_disk_read(served.disk, (struct qcow2_guest){offset}, buffer, count, &err) == 0)
		return 0;
	nbdkit_set_error(report_errno(&err));
	return report_error(settings.file, &err);
}

static int extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
		   struct nbdkit_extents *list)
{
	(void)handle;
	return extents_tell(&served, offset, count, (flags & NBDKIT_FLAG_REQ_ONE) != 0, list);
}

static struct nbdkit_plugin plugin = {
	.name = "qcow2",
	.longname = "QCOW2 disk images, read-only",
	.description =
		"Serves the disk of a QCOW2 image, or of a snapshot in it, over all files of "
		"its chain.",
	.unload = unload,
	.config = config,
	.config_complete = config_complete,
	.config_help = settings_help,
	.magic_config_key = "file",
	.dump_plugin = dump_plugin,
	.get_ready = get_ready,
	.open = open_connection,
	.get_size = get_size,
	.can_multi_conn = can_multi_conn,
	.can_cache = can_cache,
	.block_size = block_size,
	.pread = read_disk,
	.extents = extents,
	.errno_is_preserved = 1,
};

/* What the macro defines has no prototype in nbdkit's header. */
NBDKIT_DLL_PUBLIC struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
