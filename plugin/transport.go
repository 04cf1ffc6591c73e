package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

const (
	// transportAuto reaches nodes by pods. Where the API server does not answer, the error has the
	// command that works over ssh.
	transportAuto = "auto"
	transportSSH  = "ssh"
)

var transports = []string{transportAuto, transportSSH}

// transportFlags say how nodes are reached.
type transportFlags struct {
	hostFlags

	transport string
}

func (f *transportFlags) addTransportFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.transport, "transport", transportAuto, `How to reach nodes: "auto", through the API server, by pods on them; "ssh", the machines of --host, without a pod`)
	completeFlag(cmd, "transport", cobra.FixedCompletions(transports, cobra.ShellCompDirectiveNoFileComp))
	f.addHostFlags(cmd)
}

// overSSH reports whether nodes are reached over ssh.
func (f *transportFlags) overSSH() bool { return f.transport == transportSSH }

// validateTransport refuses flags of one transport together with the other one.
func (f *transportFlags) validateTransport(cmd *cobra.Command) error {
	changed := func(names ...string) string {
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				return name
			}
		}
		return ""
	}
	switch {
	case !slices.Contains(transports, f.transport):
		return hint.AddTo(fmt.Errorf("unknown --transport %q", f.transport), "want one of %s", strings.Join(transports, ", "))
	case f.overSSH():
		if flag := changed("image", "image-pull-secret"); flag != "" {
			return hint.AddTo(fmt.Errorf("--%s and --transport ssh exclude each other: over ssh there is no node pod", flag), "give one of them")
		}
	default:
		if flag := changed(hostFlagNames...); flag != "" {
			return hint.AddTo(fmt.Errorf("--%s needs --transport ssh", flag), "add --transport ssh, or leave --%s out", flag)
		}
	}
	return nil
}

// transportArguments are the flags to repeat in a command that is proposed, with a space before
// them.
func (f *transportFlags) transportArguments() string {
	if !f.overSSH() {
		return ""
	}
	out := " --transport ssh"
	if len(f.hosts) > 0 {
		out += " --host " + strings.Join(f.hosts, ",")
	}
	for _, flag := range []struct{ name, value string }{{"host-file", f.hostFile}, {"ssh-config", f.sshConfig}, {"node-programs", f.programs}} {
		if flag.value != "" {
			out += " --" + flag.name + " " + flag.value
		}
	}
	return out
}

// connectNodes connects to the cluster, or to the machines alone. The caller calls disconnect.
func (a *app) connectNodes(ctx context.Context, f *transportFlags, known *connectionFlags, conn connection) (c *cluster, disconnect func(), err error) {
	if !f.overSSH() {
		c, err = a.dial(conn)
		return c, func() {}, err
	}
	hosts, disconnect, err := a.connectHosts(ctx, &f.hostFlags, known)
	if err != nil {
		return nil, nil, err
	}
	return clusterOfHosts(hosts), disconnect, nil
}

// connectHosts connects to the hosts that the flags name. The caller calls disconnect.
func (a *app) connectHosts(ctx context.Context, f *hostFlags, known *connectionFlags) (hosts *ssh.Hosts, disconnect func(), err error) {
	options, err := f.hostOptions()
	if err != nil {
		return nil, nil, known.withRememberedHosts(err)
	}
	printers.PrintNotes(a.ErrOut, fmt.Sprintf("Connecting to %s over ssh …", printers.CountOf(len(options.Addresses), "host")))
	if hosts, err = ssh.Connect(ctx, options); err != nil {
		return nil, nil, err
	}
	return hosts, func() {
		if err := hosts.Disconnect(context.WithoutCancel(ctx)); err != nil {
			a.printLine(fmt.Sprintf("warning: the node program is still on a host: %s", hint.TextOf(err)))
		}
	}, nil
}
