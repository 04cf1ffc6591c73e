// Command rotate-certs-node works on one node: it scans it, replaces certificates,
// restarts components, proves and rolls back. It runs in a short-lived pod that
// "kubectl rotate-certs" starts, or as root on the node itself.
//
// Results go to standard output as JSON, words for people to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rotate-certs/rotate-certs/pkg/rotate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(exitCode(err))
}

// exitCode is what the program ends with after an error.
func exitCode(err error) int {
	switch {
	case errors.Is(err, rotate.ErrNeedsPerson):
		return 2
	case errors.Is(err, rotate.ErrLeftOut):
		return 4
	}
	return 1
}
