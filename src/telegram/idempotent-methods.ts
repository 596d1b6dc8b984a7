const METHOD_NAMES = `
  account.CheckUsername account.GetAccountTTL account.GetAllSecureValues account.GetAuthorizationForm
  account.GetAuthorizations account.GetAutoDownloadSettings account.GetAutoSaveSettings
  account.GetBotBusinessConnection account.GetBusinessChatLinks account.GetChannelDefaultEmojiStatuses
  account.GetChannelRestrictedStatusEmojis account.GetChatThemes account.GetCollectibleEmojiStatuses
  account.GetConnectedBots account.GetContactSignUpNotification account.GetContentSettings
  account.GetDefaultBackgroundEmojis account.GetDefaultEmojiStatuses account.GetDefaultGroupPhotoEmojis
  account.GetDefaultProfilePhotoEmojis account.GetGlobalPrivacySettings account.GetMultiWallPapers
  account.GetNotifyExceptions account.GetNotifySettings account.GetPaidMessagesRevenue account.GetPasskeys
  account.GetPassword account.GetPrivacy account.GetReactionsNotifySettings account.GetRecentEmojiStatuses
  account.GetSavedMusicIds account.GetSavedRingtones account.GetSecureValue account.GetTheme
  account.GetThemes account.GetUniqueGiftChatThemes account.GetWallPaper account.GetWallPapers
  account.GetWebAuthorizations account.GetWebBrowserSettings

  aicompose.GetTone aicompose.GetTones

  bots.CanSendMessage bots.CheckDownloadFileParams bots.CheckUsername bots.GetAccessSettings
  bots.GetAdminedBots bots.GetBotCommands bots.GetBotInfo bots.GetBotMenuButton bots.GetBotRecommendations
  bots.GetPopularAppBots bots.GetPreviewInfo bots.GetPreviewMedias

  channels.CheckSearchPostsFlood channels.CheckUsername channels.ExportMessageLink channels.GetAdminLog
  channels.GetAdminedPublicChannels channels.GetChannelRecommendations channels.GetChannels
  channels.GetForumTopics channels.GetForumTopicsByID channels.GetFullChannel
  channels.GetGroupsForDiscussion channels.GetInactiveChannels channels.GetLeftChannels
  channels.GetMessageAuthor channels.GetMessages channels.GetParticipant channels.GetParticipants
  channels.GetSendAs

  chatlists.CheckChatlistInvite chatlists.GetChatlistUpdates chatlists.GetExportedInvites
  chatlists.GetLeaveChatlistSuggestions

  communities.GetJoinedCommunities communities.GetParticipantJoinedChats communities.GetPeerLinkRequests

  contacts.GetBirthdays contacts.GetBlocked contacts.GetContactIDs contacts.GetContacts contacts.GetSaved
  contacts.GetSponsoredPeers contacts.GetStatuses contacts.GetTopPeers contacts.ResolvePhone
  contacts.ResolveUsername contacts.Search

  ephemeral.GetWelcomeMessages

  fragment.GetCollectibleInfo

  help.GetAppConfig help.GetAppUpdate help.GetCdnConfig help.GetConfig help.GetCountriesList
  help.GetDeepLinkInfo help.GetInviteText help.GetNearestDc help.GetPassportConfig help.GetPeerColors
  help.GetPeerProfileColors help.GetPremiumPromo help.GetPromoData help.GetRecentMeUrls help.GetSupport
  help.GetSupportName help.GetTermsOfServiceUpdate help.GetTimezonesList help.GetUserInfo

  langpack.GetDifference langpack.GetLangPack langpack.GetLanguage langpack.GetLanguages langpack.GetStrings

  messages.CheckChatInvite messages.CheckHistoryImport messages.CheckHistoryImportPeer
  messages.CheckQuickReplyShortcut messages.GetAdminsWithInvites messages.GetAllDrafts
  messages.GetAllStickers messages.GetArchivedStickers messages.GetAttachMenuBot messages.GetAttachMenuBots
  messages.GetAttachedStickers messages.GetAvailableEffects messages.GetAvailableReactions
  messages.GetBotApp messages.GetChatInviteImporters messages.GetChats messages.GetCommonChats
  messages.GetCustomEmojiDocuments messages.GetDefaultHistoryTTL messages.GetDefaultTagReactions
  messages.GetDhConfig messages.GetDialogFilters messages.GetDialogUnreadMarks messages.GetDialogs
  messages.GetDiscussionMessage messages.GetDocumentByHash messages.GetEmojiGameInfo messages.GetEmojiGroups
  messages.GetEmojiKeywords messages.GetEmojiKeywordsDifference messages.GetEmojiKeywordsLanguages
  messages.GetEmojiProfilePhotoGroups messages.GetEmojiStatusGroups messages.GetEmojiStickerGroups
  messages.GetEmojiStickers messages.GetExportedChatInvite messages.GetExportedChatInvites
  messages.GetExtendedMedia messages.GetFactCheck messages.GetFavedStickers
  messages.GetFeaturedEmojiStickers messages.GetFeaturedStickers messages.GetForumTopics
  messages.GetForumTopicsByID messages.GetFullChat messages.GetFutureChatCreatorAfterLeave
  messages.GetGameHighScores messages.GetHistory messages.GetInlineGameHighScores messages.GetMaskStickers
  messages.GetMessageEditData messages.GetMessageReactionsList messages.GetMessageReadParticipants
  messages.GetMessages messages.GetMessagesReactions messages.GetMyStickers messages.GetOldFeaturedStickers
  messages.GetOnlines messages.GetOutboxReadDate messages.GetPaidReactionPrivacy messages.GetPeerDialogs
  messages.GetPeerSettings messages.GetPersonalChannelHistory messages.GetPinnedDialogs
  messages.GetPinnedSavedDialogs messages.GetPollResults messages.GetPollVotes
  messages.GetPreparedInlineMessage messages.GetQuickReplies messages.GetQuickReplyMessages
  messages.GetRecentLocations messages.GetRecentReactions messages.GetRecentStickers messages.GetReplies
  messages.GetRichMessage messages.GetSavedDialogs messages.GetSavedDialogsByID messages.GetSavedGifs
  messages.GetSavedHistory messages.GetSavedReactionTags messages.GetScheduledHistory
  messages.GetScheduledMessages messages.GetSearchCounters messages.GetSearchResultsCalendar
  messages.GetSearchResultsPositions messages.GetSplitRanges messages.GetSponsoredMessages
  messages.GetStickerSet messages.GetStickers messages.GetSuggestedDialogFilters messages.GetTopReactions
  messages.GetUnreadMentions messages.GetUnreadPollVotes messages.GetUnreadReactions messages.GetWebPage
  messages.GetWebPagePreview messages.Search messages.SearchCustomEmoji messages.SearchEmojiStickerSets
  messages.SearchGlobal messages.SearchSentMedia messages.SearchStickerSets messages.SearchStickers
  messages.TranslateRichMessage messages.TranslateText messages.UploadEncryptedFile
  messages.UploadImportedMedia messages.UploadMedia

  payments.CanPurchasePremium payments.CanPurchaseStore payments.CheckCanSendGift payments.CheckGiftCode
  payments.GetBankCardData payments.GetConnectedStarRefBot payments.GetConnectedStarRefBots
  payments.GetCraftStarGifts payments.GetGiveawayInfo payments.GetPaymentForm payments.GetPaymentReceipt
  payments.GetPremiumGiftCodeOptions payments.GetResaleStarGifts payments.GetSavedInfo
  payments.GetSavedStarGift payments.GetSavedStarGifts payments.GetStarGiftActiveAuctions
  payments.GetStarGiftAuctionAcquiredGifts payments.GetStarGiftAuctionState payments.GetStarGiftCollections
  payments.GetStarGiftUpgradeAttributes payments.GetStarGiftUpgradePreview payments.GetStarGifts
  payments.GetStarsGiftOptions payments.GetStarsGiveawayOptions payments.GetStarsRevenueStats
  payments.GetStarsStatus payments.GetStarsSubscriptions payments.GetStarsTopupOptions
  payments.GetStarsTransactions payments.GetStarsTransactionsByID payments.GetSuggestedStarRefBots
  payments.GetUniqueStarGift payments.GetUniqueStarGiftValueInfo

  phone.CheckGroupCall phone.GetCallConfig phone.GetGroupCall phone.GetGroupCallChainBlocks
  phone.GetGroupCallJoinAs phone.GetGroupCallStars phone.GetGroupCallStreamChannels
  phone.GetGroupParticipants

  photos.GetUserPhotos

  premium.GetBoostsList premium.GetBoostsStatus premium.GetMyBoosts premium.GetUserBoosts

  smsjobs.GetStatus smsjobs.IsEligibleToJoin

  stats.GetBroadcastRevenueStats stats.GetBroadcastRevenueTransactions stats.GetBroadcastStats
  stats.GetMegagroupStats stats.GetMessagePublicForwards stats.GetMessageStats stats.GetPollStats
  stats.GetStoryPublicForwards stats.GetStoryStats stats.LoadAsyncGraph

  stickers.CheckShortName stickers.SuggestShortName

  stories.CanSendStory stories.ExportStoryLink stories.GetAlbumStories stories.GetAlbums
  stories.GetAllReadPeerStories stories.GetAllStories stories.GetChatsToSend stories.GetPeerMaxIDs
  stories.GetPeerStories stories.GetPinnedStories stories.GetStoriesArchive stories.GetStoriesByID
  stories.GetStoriesViews stories.GetStoryReactionsList stories.GetStoryViewsList stories.SearchPosts

  updates.GetChannelDifference updates.GetDifference updates.GetState

  upload.GetCdnFile upload.GetCdnFileHashes upload.GetFile upload.GetFileHashes upload.GetWebFile
  upload.ReuploadCdnFile upload.SaveBigFilePart upload.SaveFilePart

  users.GetFullUser users.GetIsPremiumRequiredToContact users.GetRequirementsToContact users.GetSavedMusic
  users.GetSavedMusicByID users.GetUsers

  GetFutureSalts Ping PingDelayDisconnect
`;

/**
 * The methods whose requests can be repeated without harm, on the same account or another one: they change nothing that
 * is visible to anyone. Full names of the classes in the layers of GramJS 2.26 (198) and teleproto 1.229 (229), each
 * judged by its page under core.telegram.org/methods. MUST NOT be extended by name alone: `messages.GetBotCallbackAnswer`
 * presses a button. Upload parts are included, as a part that is sent again replaces itself, and so is
 * `messages.UploadMedia`, which prepares a file "without actually sending it to the chat".
 */
export const READS: ReadonlySet<string> = new Set(METHOD_NAMES.trim().split(/\s+/));

/** Whether a method (`"messages.GetHistory"`) can be repeated without harm. Unknown methods count as writes. */
export function isIdempotent(method: string): boolean {
  return READS.has(method);
}

/** The methods that transfer one part of a file, useless without the other parts. Source: core.telegram.org/api/files. */
const TRANSFERS: ReadonlySet<string> = new Set([
  "upload.SaveFilePart",
  "upload.SaveBigFilePart",
  "upload.GetFile",
  "upload.GetCdnFile",
  "upload.GetWebFile",
]);

/** Whether a method uploads or downloads a part of a file. */
export function isTransfer(method: string): boolean {
  return TRANSFERS.has(method);
}
