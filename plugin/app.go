package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// app is one call of the program: its streams, its clock and the way to a cluster.
// Tests replace dial, survey, readPolicy, render and now.
type app struct {
	genericiooptions.IOStreams
	terminal terminal
	dial     func(connection) (*cluster, error)
	now      func() time.Time
	hurry    bool // tests do not wait between two checks
	// survey reads the state of the watcher; nil where nothing is installed. An error means that
	// it is unknown whether something is.
	survey func(context.Context, connection) (*v1alpha1.WatcherStatus, error)
	// readPolicy reads the RotationPolicy of the cluster; nil where there is none.
	readPolicy func(context.Context, connection) (*v1alpha1.RotationPolicy, error)
	// readReports reads the agents' NodeCertificateReports, for a plan without a scan.
	readReports func(context.Context, connection) ([]v1alpha1.NodeCertificateReport, error)
	// render makes the objects of an installation.
	render func(manifests.Options) ([]*unstructured.Unstructured, error)

	mu      sync.Mutex
	shown   []*progress // of the rotations in progress
	command string      // the command line, for hints

	lastLines sync.Mutex // held while the answer to an interrupt or the command's error is printed
}

// Main runs the command line and returns the exit code, see docs/exit-codes.md. The first
// signal stops in good order, the second one at once. Only SIGHUP never stops at once, since
// a closed terminal sends several.
func Main(args []string, streams genericiooptions.IOStreams, signals <-chan os.Signal) int {
	a := &app{
		IOStreams: streams,
		terminal:  findTerminal(streams.In, streams.Out, streams.ErrOut, os.Getenv),
		now:       time.Now,
		render:    manifests.Render,
	}
	a.dial = a.connectCluster
	a.survey = a.surveyWatcher
	a.readPolicy = a.installedPolicy
	a.readReports = a.storedReports
	return a.runUntilSignal(args, signals)
}

func (a *app) runUntilSignal(args []string, signals <-chan os.Signal) int {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	done := make(chan int, 1)
	go func() { done <- a.runCommandLine(ctx, args) }()
	for stopping := false; ; stopping = true {
		select {
		case code := <-done:
			return code
		case s := <-signals:
			if stopping && s == syscall.SIGHUP {
				continue
			}
		}
		if stopping {
			a.printLine(a.secondInterruptText())
			return exitcode.Interrupted
		}
		a.answerInterrupt(stop)
	}
}

// answerInterrupt stops the command and says so. Its answer is printed before the error of the
// stopped command, see printError.
func (a *app) answerInterrupt(stop context.CancelCauseFunc) {
	a.lastLines.Lock()
	defer a.lastLines.Unlock()
	answer := a.firstInterruptText()
	stop(fleet.ErrInterrupted)
	a.printLine(answer)
}

// runCommandLine executes the command line and prints its error.
func (a *app) runCommandLine(ctx context.Context, args []string) int {
	flags := newConnectionFlags()
	root := a.rootCommand(flags)
	root.SetArgs(args)
	a.command = strings.Join(append([]string{displayName}, args...), " ")
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var stopped *fleet.StopError
	var explained *explainedError // of a rotation that the dashboard began
	if ctx.Err() != nil && !errors.As(err, &stopped) && !errors.As(err, &explained) && !errors.Is(err, errLeftOut) && !errors.Is(err, errDeclined) {
		err = interruption(ran.Name()) // shorter than the error of the interrupted request
	}
	a.printError(explainCause(err, flags.recoverHint))
	return exitCode(ran.Name(), err, ctx.Err() != nil)
}

// printError prints the error of a command; one with an empty text was printed already.
func (a *app) printError(err error) {
	a.lastLines.Lock()
	defer a.lastLines.Unlock()
	if err.Error() != "" {
		fmt.Fprintln(a.ErrOut, "error: "+printers.CleanLines(hint.TextOf(err)))
	}
}

// interruption is the error of an interrupted command that is no rotation in progress.
func interruption(command string) error {
	switch command {
	case "install", "uninstall", "mark-compromised":
		return hint.AddTo(errors.New("interrupted: part of it may be done"), "the same command again does the rest")
	}
	return errors.New("interrupted before anything was changed")
}

// printLine writes a line to standard error, above the live lines where there are any.
func (a *app) printLine(line string) {
	for _, p := range a.rotationsShown() {
		if p.out == a.ErrOut {
			p.printAbove(line)
			return
		}
	}
	fmt.Fprintln(a.ErrOut, line)
}

func (a *app) showProgress(p *progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shown = append(a.shown, p)
}

func (a *app) hideProgress(p *progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shown = slices.DeleteFunc(a.shown, func(other *progress) bool { return other == p })
}

func (a *app) rotationsShown() []*progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.shown)
}

// nodesInProgress names the nodes with files or components between old and new, and the commands
// that continue their rotations.
func (a *app) nodesInProgress() (nodes, commands []string) {
	for _, p := range a.rotationsShown() {
		busy := p.inProgress()
		if len(busy) > 0 {
			commands = append(commands, cmp.Or(p.command, a.command)+" --take-over")
		}
		for _, node := range busy {
			if p.cluster != "" {
				node += " of " + p.cluster
			}
			nodes = append(nodes, node)
		}
	}
	return nodes, commands
}

// firstInterruptText answers the first Ctrl-C.
func (a *app) firstInterruptText() string {
	if nodes, _ := a.nodesInProgress(); len(nodes) > 0 {
		return fmt.Sprintf("finishing or rolling back %s, then stopping; press Ctrl-C again to stop at once", printers.SomeNames(nodes))
	}
	return "stopping; press Ctrl-C again to stop at once"
}

// secondInterruptText answers the second one.
func (a *app) secondInterruptText() string {
	if nodes, commands := a.nodesInProgress(); len(nodes) > 0 {
		return fmt.Sprintf("stopped at once: the process on %s finishes or rolls back on its own.\nnext: %s", printers.SomeNames(nodes), strings.Join(commands, "\nnext: "))
	}
	return "stopped at once; the processes on the nodes end on their own"
}

// silenceCobra has cobra print neither usage nor errors: runCommandLine does. What holds of the
// root holds of all commands.
func silenceCobra(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	cmd.SilenceErrors = true
}
