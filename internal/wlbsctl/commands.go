// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
)

// maxDrainTimeout is the greatest drainTimeoutSeconds of the API.
const maxDrainTimeout = 24 * time.Hour

var verbHelp = []struct {
	verb        verb
	short, long string
}{
	{verbStart, "Make hosts members, also those that drain",
		"Makes hosts members of their cluster. A drain is ended: new connections come again."},
	{verbStop, "Make hosts leave at once",
		"Makes hosts leave their cluster at once; their established connections are cut. drainstop is the gentle way."},
	{verbDrainstop, "Make hosts take no new connections, and leave when the last one ends",
		`Lets hosts finish their connections, take no new ones, and leave when the last one ends. stop and start interrupt it.
With --drain-timeout, what is connected then is cut.`},
	{verbSuspend, "Stop hosts and refuse control commands until resume",
		`Stops hosts at once and makes them refuse start, stop, drainstop, enable, disable and drain until they are resumed:
for work that nobody must interrupt.`},
	{verbResume, "Accept control commands again; the hosts stay stopped",
		"Ends suspend. The hosts stay stopped, as with WLBS: start makes them members again."},
}

func (a *app) verbCommands() []*cobra.Command {
	var commands []*cobra.Command
	for _, help := range verbHelp {
		var o controlOptions
		cmd := &cobra.Command{
			Use:               string(help.verb) + " TARGET...",
			Short:             help.short,
			Long:              help.long + "\n\n" + targetHelp,
			Args:              targetsRequired,
			ValidArgsFunction: a.completeTargets,
			RunE: func(cmd *cobra.Command, args []string) error {
				if o.drainTimeout < 0 || o.drainTimeout > maxDrainTimeout {
					return failf(ExitUsage, "--drain-timeout %v is not between 0s and %v", o.drainTimeout, maxDrainTimeout)
				}
				return a.control(cmd.Context(), args, &o, answerVerb(help.verb, o.drainTimeout), reachedState)
			},
		}
		o.addFlags(cmd)
		if help.verb == verbDrainstop {
			cmd.Flags().DurationVar(&o.drainTimeout, "drain-timeout", 0,
				"cut what is still connected after this time, at most 24h (default: wait for the last connection to end)")
		}
		commands = append(commands, cmd)
	}
	return commands
}

var ruleHelp = map[string]string{
	"enable":  "Make hosts handle the traffic of port rules",
	"disable": "Take ALL traffic of port rules away from hosts",
	"drain":   "Take NEW traffic of port rules away from hosts; established connections stay",
}

func (a *app) ruleCommands() []*cobra.Command {
	var commands []*cobra.Command
	for i := range ruleVerbs {
		v := &ruleVerbs[i]
		var o controlOptions
		cmd := &cobra.Command{
			Use:   v.name + " PORT TARGET...",
			Short: ruleHelp[v.name],
			Long: ruleHelp[v.name] + ".\nAll ports of a rule are affected, and its share goes to the other hosts.\n\n" +
				portHelp + "\n\n" + targetHelp,
			ValidArgsFunction: a.completePortAndTargets,
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return errors.New("say which port")
				}
				return targetsRequired(cmd, args[1:])
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				port, err := parsePort(args[0])
				if err != nil {
					return err
				}
				return a.control(cmd.Context(), args[1:], &o, answerRule(v, &port), reachedRules)
			},
		}
		o.addFlags(cmd)
		commands = append(commands, cmd)
	}
	return commands
}
