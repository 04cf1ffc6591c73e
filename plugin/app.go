package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// app is one call of the program: its streams, its clock and the way to a cluster.
// Tests replace dial, survey, readPolicy and now.
type app struct {
	genericiooptions.IOStreams
	terminal terminal
	dial     func(connection) (*cluster, error)
	now      func() time.Time
	hurry    bool // tests do not wait between two looks
	// survey looks at the watcher, for status; nil where nothing is installed.
	survey func(context.Context, connection) *v1alpha1.WatcherStatus
	// readPolicy reads the RotationPolicy of the cluster; nil where there is none.
	readPolicy func(context.Context, connection) (*v1alpha1.RotationPolicy, error)

	mu       sync.Mutex
	progress *progress // of the rotation at work, if one is
	command  string    // how to run the same again, for hints
}

// Main runs the command line and returns the exit code that README documents. The
// first signal asks for an orderly end; a second one leaves the nodes to themselves, but for
// SIGHUP: a closed terminal sends several, and nobody is in a hurry any more.
func Main(args []string, streams genericiooptions.IOStreams, signals <-chan os.Signal) int {
	// client-go logs what it also returns as errors; in between our lines that is noise.
	klog.SetLogger(logr.Discard())
	a := &app{
		IOStreams: streams,
		terminal:  findTerminal(streams.In, streams.Out, streams.ErrOut, os.Getenv),
		now:       time.Now,
	}
	a.dial, a.survey, a.readPolicy = a.connect, a.surveyWatcher, a.installedPolicy
	return a.main(args, signals)
}

func (a *app) main(args []string, signals <-chan os.Signal) int {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, args) }()
	for asked := false; ; asked = true {
		select {
		case code := <-done:
			return code
		case s := <-signals:
			if asked && s == syscall.SIGHUP {
				continue
			}
		}
		if asked {
			a.say(a.leaving())
			return exitInterrupted
		}
		answer := a.stopping()
		stop(fleet.ErrInterrupted)
		a.say(answer)
	}
}

// run executes the command line and says what went wrong.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	a.command = strings.Join(append([]string{displayName}, args...), " ")
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var stopped *fleet.StopError
	if ctx.Err() != nil && !errors.As(err, &stopped) {
		err = errors.New("interrupted before anything was changed") // not how each request was cut off
	}
	if text := explain(err); text != "" {
		fmt.Fprintln(a.ErrOut, "error: "+cleanLines(text))
	}
	return exitCode(ran.Name(), err, ctx.Err() != nil)
}

// say writes a line to standard error, above the live lines where there are any.
func (a *app) say(line string) {
	a.mu.Lock()
	p := a.progress
	a.mu.Unlock()
	if p != nil {
		p.say(line)
		return
	}
	fmt.Fprintln(a.ErrOut, line)
}

func (a *app) showing(p *progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress = p
}

func (a *app) atWork() []string {
	a.mu.Lock()
	p := a.progress
	a.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.atWork()
}

// stopping answers the first Ctrl-C.
func (a *app) stopping() string {
	if nodes := a.atWork(); len(nodes) > 0 {
		return fmt.Sprintf("finishing or undoing %s, then stopping; press Ctrl-C again to leave it to the node", some(nodes))
	}
	return "stopping; press Ctrl-C again to leave at once"
}

// leaving answers the second one.
func (a *app) leaving() string {
	if nodes := a.atWork(); len(nodes) > 0 {
		return fmt.Sprintf("left %s alone: the pod there finishes or undoes its part by itself.\nnext: %s", some(nodes), a.command)
	}
	return "left at once; pods of this run end by themselves"
}

// note writes hints to standard error, each on its own line.
func note(w io.Writer, lines ...string) {
	for _, l := range lines {
		if l != "" {
			fmt.Fprintln(w, l)
		}
	}
}

// plain makes an error of a command's own words, without usage around it.
func plain(cmd *cobra.Command) {
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
}
