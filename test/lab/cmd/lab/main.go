// Command lab runs a real Kubernetes cluster on one Linux machine, for tests:
// systemd, kubelet, containerd and static pods on every node, without Docker
// and without pulling an image. `lab help` lists what it can do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

// command is one subcommand.
type command struct {
	name    string
	args    string // what comes after the flags
	summary string // "" hides it from the help
	run     func(args []string) error
}

func commands() []command {
	return []command{
		{"up", "", "boot a lab, building what is missing", up},
		{"down", "", "remove a lab without a trace", down},
		{"status", "", "describe a lab as JSON", status},
		{"run", "-- COMMAND…", "run a command as a client of the cluster, in the lab's network namespace", run},
		{"exec", "NODE -- COMMAND…", "run a command on a node", execute},
		{"load", "IMAGE.tar", "import a docker or OCI archive into every node's container runtime", load},
		{"kubeconfig", "", "print the path of the administrator's kubeconfig", kubeconfig},
		{"ssh-config", "", "print an ssh_config for clients in the lab's network namespace", sshConfig},
		{"start", "NODE", "switch a node on", start},
		{"stop", "NODE", "switch a node off; --kill cuts its power", stop},
		{"reboot", "NODE", "switch a node off and on; --kill cuts its power", reboot},
		{"expire", "", "make all leaf certificates expire, on all nodes or on --node NAME, and restart these", expire},
		{"build", "", "build the parts of a lab, and nothing else", build},
		{"become-node", "NODE", "", becomeNode},
		{"become-balancer", "", "", becomeBalancer},
		{"balance", "NAME=ADDRESS…", "", balance},
	}
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "lab:", hint.TextOf(err))
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 || strings.TrimLeft(args[0], "-") == "help" || args[0] == "-h" {
		fmt.Print(help())
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:])
		}
	}
	return fmt.Errorf("there is no command %q\n%s", args[0], help())
}

func help() string {
	var text strings.Builder
	text.WriteString("usage: lab COMMAND [--name LAB] …\n\n")
	for _, c := range commands() {
		if c.summary != "" {
			fmt.Fprintf(&text, "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
		}
	}
	text.WriteString("\n`lab COMMAND --help` lists its flags.\n")
	return text.String()
}

// newFlags returns a command's flag set with --name in it.
func newFlags(command string) (flags *flag.FlagSet, name *string) {
	flags = flag.NewFlagSet("lab "+command, flag.ContinueOnError)
	return flags, flags.String("name", "default", "name of the lab; several can run at once")
}

// afterDashes returns what comes after a "--" that flag parsing has left.
func afterDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}
