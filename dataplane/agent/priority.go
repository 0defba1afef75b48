// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// priority is the nice value of the agent, the best there is: a heartbeat that comes late because the
// node is busy looks like a dead node (Microsoft KB829701), and what a host does in a round of
// convergence all others wait for.
const priority = -20

// raisePriority sets the nice value of every thread there is; new ones inherit it.
func raisePriority() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("priority: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, priority); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("priority of thread %d: %w", id, err)
		}
	}
	return nil
}
