package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

func (p *program) runCommand() *cobra.Command {
	var rotation string
	cmd := &cobra.Command{
		Use:   nodeapi.CommandRun + " --rotation ID",
		Short: "Carry out the orders of a rotation until it ends; the main process of a node pod",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			engine, closeEngine := p.newEngine()
			defer closeEngine()
			if err := engine.RunOrders(cmd.Context(), rotation); err != nil {
				return err
			}
			waitForEnd(cmd.Context())
			return nil
		},
	}
	addRotation(cmd, &rotation)
	return cmd
}

// waitForEnd has the main process of a pod continue to run for a while after its last record,
// when everything is done and the node's lock is released. When it ends, processes that exec
// has started in the pod end as well, and a follower receives that record only after the
// kubelet has reported the pod's end, some two seconds later [measured]. A pod whose last
// record was received is deleted, which ends the wait at once.
func waitForEnd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	<-ctx.Done()
}

func (p *program) orderCommand() *cobra.Command {
	var rotation string
	cmd := &cobra.Command{
		Use:   nodeapi.CommandOrder + " --rotation ID",
		Short: "Read one order as JSON on standard input and put it into the inbox of a rotation",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var o nodeapi.Order
			if err := readJSON(cmd.InOrStdin(), "order", &o); err != nil {
				return err
			}
			r, err := openRotation(p.hostRoot(), rotation)
			if err != nil {
				return err
			}
			if _, err := r.PutOrder(o); err != nil {
				return err
			}
			return p.printJSON(map[string]bool{"accepted": true})
		},
	}
	addRotation(cmd, &rotation)
	return cmd
}

func openRotation(root hostfs.Root, id string) (*statedir.Rotation, error) {
	dir, err := statedir.OpenDir(root)
	if err != nil {
		return nil, err
	}
	return dir.OpenRotation(id)
}

func (p *program) followCommand() *cobra.Command {
	var rotation string
	var after int64
	cmd := &cobra.Command{
		Use:   nodeapi.CommandFollow + " --rotation ID",
		Short: "Print a rotation's records as lines of JSON, until its process has ended",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := &lines{w: p.stdout}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go out.keepBeating(ctx)
			err := statedir.FollowJournal(ctx, p.hostRoot(), rotation, after, func(rec nodeapi.Record) error {
				line, err := json.Marshal(rec)
				if err != nil {
					return err
				}
				return out.writeLine(line)
			})
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // asked to end
			}
			return err
		},
	}
	addRotation(cmd, &rotation)
	cmd.Flags().Int64Var(&after, "after", 0, "print only records after this sequence number")
	return cmd
}

// lines writes whole lines from two goroutines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) writeLine(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.w.Write(append(line, '\n'))
	return err
}

// keepBeating prints an empty line from time to time, so that the reader of follow can
// distinguish silence from a broken connection.
func (l *lines) keepBeating(ctx context.Context) {
	for wait.SleepFor(ctx, 2*time.Second) == nil {
		if l.writeLine(nil) != nil {
			return
		}
	}
}

func addRotation(cmd *cobra.Command, id *string) {
	cmd.Flags().StringVar(id, "rotation", "", "the rotation's id")
	// Fails only for a flag that does not exist.
	_ = cmd.MarkFlagRequired("rotation")
}
