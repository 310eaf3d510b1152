/* SPDX-License-Identifier: MIT */
/*
 * Reads the disk of an image through the library, or the bytes of a file with pread(), and prints how
 * long a read took, so that the two can be compared.
 *
 *     cc -O2 -Iinclude bench/read_guest.c build/release/lib/libqcow2.a -ldeflate -lzstd -pthread
 *     ./a.out random|sequential THREADS COUNT BYTES IMAGE
 *     ./a.out pread-random|pread-sequential THREADS COUNT BYTES FILE
 *
 * Backing files are opened as the image names them, from the folder of the process: only for images of
 * one's own.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <qcow2/guest.h>
#include <qcow2/image.h>
#include <qcow2/source.h>

/* What all threads share. */
static struct {
	struct qcow2_disk *disk; /* NULL: pread() of fd */
	int fd;
	bool is_random;
	unsigned threads;
	uint64_t size, count, bytes;
} job;

static int open_named(void *opaque, const struct qcow2_disk_wanted *wanted,
		      struct qcow2_source **source, struct qcow2_error *err)
{
	char path[1024] = {0};

	(void)opaque;
	memcpy(path, wanted->name.data, wanted->name.size);
	if (qcow2_source_open(path, source, err))
		return QCOW2_DISK_REFUSED;
	return wanted->role == QCOW2_DISK_BACKING && wanted->format.size == 5
		       ? QCOW2_DISK_GIVEN_QCOW2
		       : QCOW2_DISK_GIVEN_RAW;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void read_once(uint64_t at, uint8_t *buffer)
{
	struct qcow2_error err;

	if (!job.disk && pread(job.fd, buffer, job.bytes, (off_t)at) == (ssize_t)job.bytes)
		return;
	if (job.disk &&
	    qcow2_disk_read(job.disk, (struct qcow2_guest){at}, buffer, job.bytes, &err) == 0)
		return;
	fprintf(stderr, "cannot read: %s\n", job.disk ? err.text : "pread");
	exit(1);
}

static void *work(void *opaque)
{
	const uint64_t places = job.size / job.bytes, index = (uint64_t)(uintptr_t)opaque;
	uint64_t seed = 88172645463325252U + index;
	uint8_t *buffer = malloc(job.bytes);

	for (uint64_t i = index; buffer && i < job.count; i += job.threads)
		read_once((job.is_random ? next_random(&seed) % places : i % places) * job.bytes,
			  buffer);
	free(buffer);
	return NULL;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void measure(void)
{
	pthread_t threads[64];
	double start = now(), seconds;

	for (unsigned i = 0; i < job.threads; i++)
		pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < job.threads; i++)
		pthread_join(threads[i], NULL);
	seconds = now() - start;
	printf("%.3f s, %.2f us a read, %.0f MB/s\n", seconds, seconds * 1e6 / (double)job.count,
	       (double)(job.count * job.bytes) / seconds / 1e6);
}

int main(int argc, char **argv)
{
	struct qcow2_disk_options options = {.size = sizeof(options), .gate = open_named};
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;

	if (argc != 6)
		return 2;
	job.is_random = strstr(argv[1], "random") != NULL;
	job.threads = (unsigned)atoi(argv[2]);
	job.count = strtoull(argv[3], NULL, 0);
	job.bytes = strtoull(argv[4], NULL, 0);
	if (job.threads < 1 || job.threads > 64)
		return 2;
	if (strncmp(argv[1], "pread", 5) == 0) {
		job.fd = open(argv[5], O_RDONLY | O_CLOEXEC);
		job.size = (uint64_t)lseek(job.fd, 0, SEEK_END);
	} else if (qcow2_source_open(argv[5], &source, &err) ||
		   qcow2_image_open(source, &image, &err) ||
		   qcow2_disk_open(image, &options, &job.disk, &err)) {
		fprintf(stderr, "%s: %s\n", argv[5], err.text);
		return 1;
	} else {
		job.size = qcow2_disk_size_bytes(job.disk);
	}
	measure();
	qcow2_disk_close(job.disk);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return 0;
}
