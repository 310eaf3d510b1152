/* SPDX-License-Identifier: MIT */
/*
 * See prune.h. An undo file is the last copy of what a change replaced. So it is shown, asked
 * about, and looked at once more before it is removed.
 */
#include "undo/prune.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/ask.h"
#include "common/descriptors.h"
#include "common/report.h"
#include "common/undo_place.h"
#include "out/human.h"
#include "undo/pages.h"

bool undo_age(const char *text, uint64_t *seconds)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	uint64_t number = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (number > (UINT64_MAX - 9) / 10)
			return false;
		number = number * 10 + (uint64_t)(*at - '0');
	}
	if (at == text || at[0] == '\0' || at[1] != '\0')
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].letter != *at)
			continue;
		*seconds = number * units[i].seconds;
		return number <= UINT64_MAX / units[i].seconds;
	}
	return false;
}

static bool is_old(const struct undo_prune *prune, const struct undo_entry *entry)
{
	time_t now = time(NULL);

	if (prune->older_seconds == 0)
		return true;
	return now >= 0 && entry->info.time_seconds <= (uint64_t)now &&
	       (uint64_t)now - entry->info.time_seconds >= prune->older_seconds;
}

/*
 * Whether an undo file may be removed: it was undone, or the image has left the state that it
 * belongs to. Interrupted ones are kept; so are those of an image that is missing, which may have
 * moved or not be mounted.
 */
static bool may_go(const struct undo_prune *prune, const struct undo_entry *entry)
{
	bool never = entry->now == UNDO_NOW_NEVER;
	bool missing = entry->now == UNDO_NOW_OTHER || entry->now == UNDO_NOW_GONE;

	if (entry->extra || !entry->texts || !is_old(prune, entry))
		return false;
	if (entry->info.state == QCOW2_UNDO_UNDONE)
		return true;
	if (entry->info.state != QCOW2_UNDO_APPLIED)
		return prune->force && (never || missing);
	return never || (prune->force && missing);
}

/* Whether an undone entry proves that an earlier one of its image can be undone exactly. */
static bool proves_another(const struct undo_list *list, size_t i)
{
	struct qcow2_bytes image = list->entries[i].info.image_path, other;

	for (size_t j = i + 1; j < list->count && list->entries[i].now == UNDO_NOW_UNDONE; j++) {
		other = list->entries[j].info.image_path;
		if (other.size != image.size ||
		    (image.size > 0 && memcmp(other.data, image.data, image.size) != 0))
			return false;
		if (list->entries[j].now == UNDO_NOW_EXACT)
			return true;
	}
	return false;
}

/* Removes from the list what is to stay, and keeps the order. */
static void drop_others(const struct undo_prune *prune, struct undo_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++)
		if (may_go(prune, &list->entries[i]) && proves_another(list, i))
			list->entries[i].why =
				strdup("without it, an earlier change is not undone exactly");
	for (size_t i = 0; i < list->count; i++) {
		struct undo_entry entry = list->entries[i];

		entry.first = UNDO_NO_ENTRY;
		if (may_go(prune, &entry)) {
			list->entries[i] = list->entries[kept];
			list->entries[kept++] = entry;
		}
	}
	while (list->count > kept)
		undo_list_drop_last(list);
}

/* Whether the file is still the one that was judged, and no link to it. */
static bool is_same(int folder, const char *name, const struct undo_entry *entry)
{
	struct stat st;

	return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_dev == entry->device && st.st_ino == entry->inode;
}

/* Removes one file. Returns 0, or an errno value; ESTALE if another file is there now. */
static int remove_one(const struct undo_entry *entry)
{
	const char *slash = strrchr(entry->path, '/');
	const char *name = slash ? slash + 1 : entry->path;
	char folder[UNDO_PATH_MAX];
	int fd, errnum;

	if (!undo_folder_of(entry->path, folder, sizeof(folder)))
		return ENAMETOOLONG;
	fd = descriptors_open(folder, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno;
	errnum = !is_same(fd, name, entry) ? ESTALE : unlinkat(fd, name, 0) < 0 ? errno : 0;
	(void)close(fd);
	/* Remove a folder of ours that is empty now. */
	slash = strrchr(folder, '/');
	if (errnum == 0 && strcmp(slash ? slash + 1 : folder, UNDO_FOLDER) == 0)
		(void)rmdir(folder);
	return errnum;
}

static int fail(const struct undo_prune *prune, const char *path, int errnum)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "not removed: %s",
		 errnum == ESTALE ? "another file is there now" : strerror(errnum));
	return report_error(prune->command, path, &err);
}

static int remove_all(const struct undo_prune *prune, struct undo_list *list)
{
	int code = EXIT_FINE;

	for (size_t i = 0; i < list->count; i++) {
		int errnum = remove_one(&list->entries[i]);

		list->entries[i].removed = errnum == 0;
		if (errnum)
			code = fail(prune, list->entries[i].path, errnum);
	}
	return code;
}

/* ---- asking ---- */

static bool is_agreed(const struct undo_prune *prune, const struct undo_list *list)
{
	if (prune->yes)
		return true;
	/* With --quiet nobody sees what it is about. */
	if (prune->as_json || wants_silence(prune->command) || !isatty(STDIN_FILENO)) {
		fprintf(stderr, "qcow2 undo: nothing was removed: --yes removes %s\n",
			list->count == 1 ? "it" : "them");
		return false;
	}
	return ask_person(list->count == 1
				  ? "Remove this undo file? They cannot be brought back."
				  : "Remove these undo files? They cannot be brought back.");
}

static uint64_t bytes_of_all(const struct undo_list *list)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < list->count; i++)
		bytes += (uint64_t)list->entries[i].size;
	return bytes;
}

/* Shows the list: it has to be on the screen before the question. */
static int show(const struct undo_prune *prune, const struct undo_list *list, struct spool *out)
{
	char size[HUMAN_MAX];

	if (prune->as_json)
		return EXIT_FINE;
	if (list->count == 0) {
		spool_text(out, "no undo files to remove\n");
		return EXIT_FINE;
	}
	undo_list_human(out, list);
	spool_print(out, "\n%zu undo file%s, %s\n", list->count, list->count == 1 ? "" : "s",
		    human_size(bytes_of_all(list), size));
	return finish_output(prune->command, out, EXIT_FINE);
}

int undo_prune(const struct undo_prune *prune, struct undo_list *list, struct spool *out,
	       struct json *json)
{
	int code;

	drop_others(prune, list);
	code = show(prune, list, out);
	if (code != EXIT_FINE)
		return code;
	if (list->count > 0)
		code = is_agreed(prune, list) ? remove_all(prune, list) : EXIT_COULD_NOT;
	if (prune->as_json)
		undo_list_json(json, list);
	else if (code == EXIT_FINE && list->count > 0)
		spool_text(out, "removed\n");
	return code;
}
