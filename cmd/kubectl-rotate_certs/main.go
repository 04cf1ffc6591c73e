// Command kubectl-rotate_certs is "kubectl rotate-certs": it renews the certificates of
// Kubernetes' own components. Everything is in package plugin.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/rotate-certs/rotate-certs/plugin"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// A terminal that is closed must not leave pods behind, unless "nohup" says to continue.
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(plugin.Main(os.Args[1:], streams, signals))
}
