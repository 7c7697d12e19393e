//go:build sv2bridge

package main

import (
	"fmt"
	"time"
)

// This file asks goPool's own view of its node, which its Stratum V1 port goes by, too.

//sv2bridge:if func stratumHealthStatus(*JobManager, time.Time) stratumHealth
//sv2bridge:if field stratumHealth.Healthy bool
//sv2bridge:if field stratumHealth.Reason string
//sv2bridge:if field stratumHealth.Detail string

func init() {
	sv2bridgeHealth = func(jobs *JobManager) error {
		h := stratumHealthStatus(jobs, time.Now())
		switch {
		case h.Healthy:
			return nil
		case h.Detail == "":
			return fmt.Errorf("node updates degraded: %s", h.Reason)
		}
		return fmt.Errorf("node updates degraded: %s: %s", h.Reason, h.Detail)
	}
}
