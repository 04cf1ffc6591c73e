package plugin

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// eventsOptions are the flags of `events`, and the values from Complete.
type eventsOptions struct {
	*app
	installFlags

	since  string
	follow bool
	url    string
	output string

	format printers.Format
	from   time.Time // zero: all that are kept
	direct *url.URL  // of a watcher outside the cluster
	conn   connection
}

var eventFormats = []string{string(printers.JSON), string(printers.Wide), string(printers.Name)}

func (a *app) eventsCommand(flags *connectionFlags) *cobra.Command {
	o := &eventsOptions{app: a, installFlags: installFlags{connectionFlags: flags}}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the events of the watcher",
		Long: `Show the events of the watcher, oldest first: certificates that expire soon, are marked as
compromised or were renewed, and each rotation from its request to its verification. The
events are read through the API server; no NATS client is needed. -o json prints them as
CloudEvents, one on each line.`,
		Example: `  kubectl rotate-certs events --since 2h
  kubectl rotate-certs events --since 1m --follow`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Complete(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "Only events since 2h, 7d or 2030-05-17T09:30:00Z (default: all that are kept)")
	f.BoolVarP(&o.follow, "follow", "f", false, "Print new events until interrupted, also after restarts of API server and watcher")
	f.StringVar(&o.url, "url", "", "Read from a watcher outside the cluster: http://127.0.0.1:8080")
	f.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(eventFormats, ", "))
	o.addNamespace(f, "", "Namespace of the watcher (default: where it is found)")
	completeFlag(cmd, "output", cobra.FixedCompletions(eventFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete turns flags into values.
func (o *eventsOptions) Complete() error {
	if o.format = printers.Format(o.output); o.output != "" && !slices.Contains(eventFormats, o.output) {
		return hint.AddTo(fmt.Errorf("unknown output format %q", o.output), "one of %s", strings.Join(eventFormats, ", "))
	}
	var err error
	if o.from, err = parseSince(o.since, o.now()); err != nil {
		return err
	}
	if o.url != "" {
		if o.where != "" {
			return errors.New("--url and --namespace exclude each other: a watcher is outside the cluster or in it")
		}
		o.direct, err = url.Parse(o.url)
		if err != nil || o.direct.Host == "" || !slices.Contains([]string{"http", "https"}, o.direct.Scheme) {
			return fmt.Errorf("--url %q: want http://HOST:PORT, the --http-address of rotate-certs-watcher", o.url)
		}
		return nil
	}
	o.conn, err = o.newConnection()
	return err
}

// parseSince reads how far to go back.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	d, err := certs.ParseDuration(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("--since %q: want how long ago, such as 2h or 7d, or a time such as 2030-05-17T09:30:00Z", s)
	}
	return now.Add(-d), nil
}
