/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a ring buffer map: records copied out, many in one call, never more than asked for.
 *
 *   page 0    consumer position   ours to write
 *   page 1    producer position   the kernel's
 *   page 2 …  data, then the same data again, so that no record is cut at the end
 *
 * Documentation/bpf/ringbuf.rst; libbpf's own consumer takes all there is, however long it takes.
 */
#include "args.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Positions are counted in bytes since the beginning and never wrap. */
struct ring {
	unsigned long *consumer;
	const unsigned long *producer; /* NULL once closed */
	const unsigned char *data;
	size_t size;
	size_t page;
};

/* How a record is handed to JavaScript: this, the bytes, zeroes up to the next multiple of 8. */
struct record_head {
	__u32 size;
	__u32 pad;
};

static void unmap(struct ring *ring)
{
	if (ring->producer == NULL)
		return;
	munmap(ring->consumer, ring->page);
	munmap((void *)ring->producer, ring->page + 2 * ring->size);
	ring->producer = NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	unmap(data);
	free(data);
}

static int map(struct ring *ring, int fd)
{
	void *start;

	start = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (start == MAP_FAILED)
		return -errno;
	ring->consumer = start;
	start = mmap(NULL, ring->page + 2 * ring->size, PROT_READ, MAP_SHARED, fd, ring->page);
	if (start == MAP_FAILED) {
		munmap(ring->consumer, ring->page);
		return -errno;
	}
	ring->producer = start;
	ring->data = (unsigned char *)start + ring->page;
	return 0;
}

/* ringOpen(fd, size): external; `size` is the map's max_entries */
static napi_value ring_open(napi_env env, napi_callback_info info)
{
	struct ring *ring;
	napi_value value;
	struct args args;
	uint32_t size;
	int fd, err;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	size = args_u32(&args, 1);
	if (args.is_bad || size == 0 || (size & (size - 1)) != 0)
		return answer(env, -EINVAL);
	ring = calloc(1, sizeof(*ring));
	if (ring == NULL)
		return answer(env, -ENOMEM);
	ring->size = size;
	ring->page = sysconf(_SC_PAGESIZE);
	err = map(ring, fd);
	if (err < 0 || napi_create_external(env, ring, finalize, NULL, &value) != napi_ok) {
		unmap(ring);
		free(ring);
		return answer(env, err < 0 ? err : -ENOMEM);
	}
	return value;
}

/* The ring in argument 0, or NULL and *err. */
static struct ring *ring_from(struct args *args, int *err)
{
	struct ring *ring;

	*err = -EINVAL;
	if (args->is_bad ||
	    napi_get_value_external(args->env, args->at[0], (void **)&ring) != napi_ok)
		return NULL;
	*err = ring->producer == NULL ? -EBADF : 0;
	return *err == 0 ? ring : NULL;
}

static size_t round_up_8(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

/* Copies the record at `at` out; its bytes with head and padding, 0 if there is no room for it. */
static size_t record_copy(const struct ring *ring, unsigned long at, __u32 size,
			  unsigned char *into, size_t room)
{
	const struct record_head head = { size, 0 };
	size_t need = sizeof(head) + round_up_8(size);

	if (need > room)
		return 0;
	memcpy(into, &head, sizeof(head));
	memcpy(into + sizeof(head), ring->data + (at & (ring->size - 1)) + BPF_RINGBUF_HDR_SZ,
	       size);
	memset(into + sizeof(head) + size, 0, need - sizeof(head) - size);
	return need;
}

/*
 * ringRead(ring, into, maxRecords): bytes written. -EMSGSIZE: not even the first fits. Discarded
 * records count as well, so that a call is bounded whatever the programs do.
 */
static napi_value ring_read(napi_env env, napi_callback_info info)
{
	unsigned long consumer, producer;
	uint32_t max_records;
	struct bytes into;
	struct ring *ring;
	struct args args;
	size_t used = 0;
	int err;

	args_open(&args, env, info);
	ring = ring_from(&args, &err);
	if (ring == NULL)
		return answer(env, err);
	into = args_bytes(&args, 1);
	max_records = args_u32(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	consumer = *ring->consumer;
	producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	while (consumer < producer && max_records-- > 0) {
		const void *at = ring->data + (consumer & (ring->size - 1));
		__u32 head = __atomic_load_n((const __u32 *)at, __ATOMIC_ACQUIRE);
		__u32 size = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		size_t copied;

		/* A program is still writing it: what follows has to wait, order is kept. */
		if (head & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(head & BPF_RINGBUF_DISCARD_BIT)) {
			copied = record_copy(ring, consumer, size, (unsigned char *)into.data + used,
					     into.size - used);
			if (copied == 0) {
				if (used == 0)
					err = -EMSGSIZE;
				break;
			}
			used += copied;
		}
		consumer += round_up_8((size_t)size + BPF_RINGBUF_HDR_SZ);
	}
	/* From here on programs may write over what was read. */
	__atomic_store_n(ring->consumer, consumer, __ATOMIC_RELEASE);
	return answer(env, err < 0 ? err : (int64_t)used);
}

/* ringPending(ring): how many bytes lie in it unread, heads and discarded records among them */
static napi_value ring_pending(napi_env env, napi_callback_info info)
{
	struct ring *ring;
	struct args args;
	int err;

	args_open(&args, env, info);
	ring = ring_from(&args, &err);
	if (ring == NULL)
		return answer(env, err);
	return answer(env,
		      __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - *ring->consumer);
}

/* ringClose(ring): 0 */
static napi_value ring_close(napi_env env, napi_callback_info info)
{
	struct ring *ring;
	struct args args;
	int err;

	args_open(&args, env, info);
	ring = ring_from(&args, &err);
	if (ring == NULL)
		return answer(env, err);
	unmap(ring);
	return answer(env, 0);
}

const struct function ring_functions[] = {
	{ "ringOpen", ring_open },
	{ "ringRead", ring_read },
	{ "ringPending", ring_pending },
	{ "ringClose", ring_close },
	{ NULL, NULL },
};
