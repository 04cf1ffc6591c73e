package main

import (
	"fmt"
	"os"
	"regexp"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/lab"
)

func start(args []string) error {
	return power("start", args, func(l *lab.Lab, node string, _ bool) error { return l.Start(node) })
}

func stop(args []string) error {
	return power("stop", args, (*lab.Lab).Stop)
}

func reboot(args []string) error {
	return power("reboot", args, (*lab.Lab).Reboot)
}

// power is what switching a node on and off have in common.
func power(command string, args []string, change func(l *lab.Lab, node string, kill bool) error) error {
	flags, name := newFlags(command)
	kill := false
	if command != "start" {
		flags.BoolVar(&kill, "kill", false, "cut the power instead of shutting down")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%s: one node is needed; flags come before it", command)
	}
	return changing(*name, func(l *lab.Lab) error { return change(l, flags.Arg(0), kill) })
}

func expire(args []string) error {
	flags, name := newFlags("expire")
	var nodes []string
	flags.Func("node", "a node whose certificates expire; can be given more than once (default all)", func(node string) error {
		nodes = append(nodes, node)
		return nil
	})
	only := flags.String("only", "", "a regular expression: only files whose path on the node matches (default all)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("expire: unexpected argument %q", flags.Arg(0))
	}
	paths, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("expire: --only: %w", err)
	}
	return changing(*name, func(l *lab.Lab) error { return l.Expire(nodes, paths, os.Stdout) })
}

func load(args []string) error {
	flags, name := newFlags("load")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("load: one archive is needed")
	}
	return changing(*name, func(l *lab.Lab) error {
		nodes, err := l.Load(flags.Arg(0))
		if err == nil {
			fmt.Printf("loaded %s into %d nodes\n", flags.Arg(0), nodes)
		}
		return err
	})
}

// changing calls do with a lab that no other run changes meanwhile.
func changing(name string, do func(*lab.Lab) error) error {
	if _, err := lab.Open(name); err != nil {
		return err // without making a lock for a lab that does not exist
	}
	unlock, err := lab.Lock(name, os.Stderr)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := lab.Open(name)
	if err != nil {
		return err
	}
	return do(l)
}
