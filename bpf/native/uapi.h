/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and layouts of <linux/bpf.h> that the headers of Debian 12 (Linux 6.1) do not have. */
#ifndef SINABRO_UAPI_H
#define SINABRO_UAPI_H

#include <linux/types.h>

/*
 * The head of the union member `link_create` for tcx (Linux 6.6) and netkit (6.7); XDP and cgroups
 * use no more than `flags`.
 */
struct link_create_attr {
	__u32 prog_fd;
	__u32 target; /* an ifindex or the descriptor of a cgroup */
	__u32 attach_type;
	__u32 flags;
	__u32 relative_fd;
	__u32 pad;
	__u64 expected_revision;
};

/* The union member `query` as of Linux 6.6: links and the revision came with tcx. */
struct prog_query_attr {
	__u32 target; /* an ifindex or the descriptor of a cgroup or map */
	__u32 attach_type;
	__u32 query_flags;
	__u32 attach_flags;
	__aligned_u64 prog_ids;
	__u32 count;
	__u32 pad;
	__aligned_u64 prog_attach_flags;
	__aligned_u64 link_ids;
	__aligned_u64 link_attach_flags;
	__u64 revision;
};

#endif
