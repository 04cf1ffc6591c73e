package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/lab"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/parts"
)

func run(args []string) error {
	flags, name := newFlags("run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	argv := afterDashes(flags.Args())
	if len(argv) == 0 {
		return hint.AddTo(errors.New("run: a command is missing"), "lab run -- kubectl get nodes")
	}
	l, err := lab.Open(*name)
	if err != nil {
		return err
	}
	return l.Become(argv)
}

func execute(args []string) error {
	flags, name := newFlags("exec")
	if err := flags.Parse(args); err != nil {
		return err
	}
	argv := flags.Args()
	if len(argv) < 2 || len(afterDashes(argv[1:])) == 0 {
		return hint.AddTo(errors.New("exec: a node and a command are needed"), "lab exec cp1 -- systemctl status kubelet")
	}
	l, err := lab.Open(*name)
	if err != nil {
		return err
	}
	return l.BecomeOn(argv[0], afterDashes(argv[1:]))
}

func status(args []string) error {
	flags, name := newFlags("status")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := lab.Open(*name)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(l.Status(parts.Testbox))
}

func kubeconfig(args []string) error {
	return printOf("kubeconfig", args, func(l *lab.Lab) string { return l.Kubeconfig() + "\n" })
}

func sshConfig(args []string) error {
	return printOf("ssh-config", args, (*lab.Lab).SSHConfig)
}

// printOf prints something of a lab.
func printOf(command string, args []string, text func(*lab.Lab) string) error {
	flags, name := newFlags(command)
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := lab.Open(*name)
	if err != nil {
		return err
	}
	fmt.Print(text(l))
	return nil
}
