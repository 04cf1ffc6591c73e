package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (a *app) completionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for a shell",
		Long: `Print a script that completes ` + fileName + ` when it is called by that name.

"` + displayName + ` <tab>" needs no script: load kubectl's own completion, and
have kubectl_complete-rotate_certs on PATH.

Shells: ` + strings.Join(shells, ", ") + `.`,
		Example: `  source <(kubectl rotate-certs completion bash)`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && slices.Contains(shells, args[0]) {
				return nil
			}
			if len(args) == 1 {
				return hint.AddTo(fmt.Errorf("unknown shell %q", args[0]), "want one of %s", strings.Join(shells, ", "))
			}
			return hint.AddTo(errors.New("no shell is named"), "want one of %s", strings.Join(shells, ", "))
		},
		ValidArgsFunction: cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.Out)
			}
		},
	}
	return cmd
}

// completeFlag registers how a flag's value is completed. The flag exists: a wrong name is
// a mistake in this package that every test of the command line shows.
func completeFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

// completeServices completes the last of several names separated by commas.
func completeServices(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names := make([]string, 0, len(certs.Services()))
	for _, s := range certs.Services() {
		names = append(names, string(s))
	}
	return completeList(names, toComplete)
}

// completeNodes completes names of nodes by a request to the cluster; no names where that fails.
func (a *app) completeNodes(flags *connectionFlags) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		conn, err := flags.newConnection()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.dial(conn)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		nodes, err := c.api.Nodes(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := make([]string, 0, len(nodes))
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		return completeList(names, toComplete)
	}
}

// completeList completes a list separated by commas, without the names that are in it already.
func completeList(names []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	before := ""
	last := toComplete
	if i := strings.LastIndex(toComplete, ","); i >= 0 {
		before = toComplete[:i+1]
		last = toComplete[i+1:]
	}
	given := strings.Split(before, ",")
	var out []string
	for _, n := range names {
		if strings.HasPrefix(n, last) && !slices.Contains(given, n) {
			out = append(out, before+n)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeConnection completes contexts, clusters and users from the kubeconfig.
func (a *app) completeConnection(cmd *cobra.Command, flags *connectionFlags) {
	offer := func(names func() []string) cobra.CompletionFunc {
		return func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			var out []string
			for _, n := range names() {
				if strings.HasPrefix(n, toComplete) {
					out = append(out, n)
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		}
	}
	completeFlag(cmd, "context", offer(func() []string {
		raw, _ := flags.ToRawKubeConfigLoader().RawConfig() // unreadable: nothing to offer
		return slices.Sorted(maps.Keys(raw.Contexts))
	}))
	completeFlag(cmd, "cluster", offer(func() []string {
		raw, _ := flags.ToRawKubeConfigLoader().RawConfig()
		return slices.Sorted(maps.Keys(raw.Clusters))
	}))
	completeFlag(cmd, "user", offer(func() []string {
		raw, _ := flags.ToRawKubeConfigLoader().RawConfig()
		return slices.Sorted(maps.Keys(raw.AuthInfos))
	}))
}
