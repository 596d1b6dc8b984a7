/**
 * The requests that have an effect, or may have one: never repeated unless they were refused. By namespace, of the layers
 * of GramJS 2.26 (198) and teleproto 1.229 (229). A new layer's requests are judged one by one: into `src/telegram/idempotent-methods.ts`
 * what is harmless to repeat by its page under core.telegram.org/methods, everything else into this list.
 */
const byNamespace: Readonly<Record<string, string>> = {
  account: `
    AcceptAuthorization CancelPasswordEmail ChangeAuthorizationSettings ChangePhone ClearRecentEmojiStatuses
    ConfirmBotConnection ConfirmPasswordEmail ConfirmPhone CreateBusinessChatLink CreateTheme
    DeclinePasswordReset DeleteAccount DeleteAutoSaveExceptions DeleteBusinessChatLink DeletePasskey
    DeleteSecureValue DeleteWebBrowserSettingsExceptions DisablePeerConnectedBot EditBusinessChatLink
    FinishTakeoutSession InitPasskeyRegistration InitTakeoutSession InstallTheme InstallWallPaper
    InvalidateSignInCodes RegisterDevice RegisterPasskey ReorderUsernames ReportPeer ReportProfilePhoto
    ResendPasswordEmail ResetAuthorization ResetNotifySettings ResetPassword ResetWallPapers
    ResetWebAuthorization ResetWebAuthorizations SaveAutoDownloadSettings SaveAutoSaveSettings SaveMusic
    SaveRingtone SaveSecureValue SaveTheme SaveWallPaper SendChangePhoneCode SendConfirmPhoneCode
    SendVerifyEmailCode SendVerifyPhoneCode SetAccountTTL SetAuthorizationTTL SetContactSignUpNotification
    SetContentSettings SetGlobalPrivacySettings SetMainProfileTab SetPrivacy SetReactionsNotifySettings
    ToggleConnectedBotPaused ToggleNoPaidMessagesException ToggleSponsoredMessages ToggleUsername
    ToggleWebBrowserSettingsException UnregisterDevice UpdateBirthday UpdateBusinessAwayMessage
    UpdateBusinessGreetingMessage UpdateBusinessIntro UpdateBusinessLocation UpdateBusinessWorkHours UpdateColor
    UpdateConnectedBot UpdateDeviceLocked UpdateEmojiStatus UpdateNotifySettings UpdatePasswordSettings
    UpdatePersonalChannel UpdateProfile UpdateStatus UpdateTheme UpdateUsername UpdateWebBrowserSettings
    UploadRingtone UploadTheme UploadWallPaper VerifyEmail VerifyPhone`,
  aicompose: `
    CreateTone DeleteTone SaveTone UpdateTone`,
  auth: `
    AcceptLoginToken BindTempAuthKey CancelCode DropTempAuthKeys FinishFirebasePnvLogin FinishPasskeyLogin
    FirebasePnvSignUp ImportAuthorization ImportBotAuthorization ImportLoginToken ImportWebTokenAuthorization
    InitFirebasePnvLogin InitPasskeyLogin LogOut RecoverPassword ReportMissingCode ResendCode
    ResetAuthorizations ResetLoginEmail SendCode SignIn SignUp`,
  bots: `
    AddPreviewMedia AllowSendMessage AnswerWebhookJSONQuery CreateBot DeletePreviewMedia EditAccessSettings
    EditPreviewMedia InvokeWebViewCustomMethod ReorderPreviewMedias ReorderUsernames ResetBotCommands
    SendCustomRequest SetBotBroadcastDefaultAdminRights SetBotCommands SetBotGroupDefaultAdminRights SetBotInfo
    SetBotMenuButton SetCustomVerification SetJoinChatResults ToggleUserEmojiStatusPermission ToggleUsername
    UpdateStarRefProgram UpdateUserEmojiStatus`,
  channels: `
    ConvertToGigagroup CreateChannel CreateForumTopic DeactivateAllUsernames DeleteChannel DeleteHistory
    DeleteMessages DeleteParticipantHistory DeleteTopicHistory EditAdmin EditBanned EditCreator EditForumTopic
    EditLocation EditPhoto EditTitle InviteToChannel JoinChannel LeaveChannel ReadHistory ReadMessageContents
    ReorderPinnedForumTopics ReorderUsernames ReportAntiSpamFalsePositive ReportSpam RestrictSponsoredMessages
    SetBoostsToUnblockRestrictions SetDiscussionGroup SetEmojiStickers SetMainProfileTab SetStickers
    ToggleAntiSpam ToggleAutotranslation ToggleForum ToggleJoinRequest ToggleJoinToSend ToggleParticipantsHidden
    TogglePreHistoryHidden ToggleSignatures ToggleSlowMode ToggleUsername ToggleViewForumAsMessages UpdateColor
    UpdateEmojiStatus UpdatePaidMessagesPrice UpdatePinnedForumTopic UpdateUsername`,
  chatlists: `
    DeleteExportedInvite EditExportedInvite HideChatlistUpdates JoinChatlistInvite JoinChatlistUpdates
    LeaveChatlist`,
  communities: `
    Create ToggleAllPeerLinkRequestApproval ToggleCommunityCollapsedInDialogs ToggleParticipantBanned
    TogglePeerLink TogglePeerLinkRequestApproval`,
  contacts: `
    AcceptContact AddContact Block BlockFromReplies DeleteByPhones DeleteContacts EditCloseFriends
    ImportContactToken ImportContacts ResetSaved ResetTopPeerRating SetBlocked ToggleTopPeers Unblock
    UpdateContactNote`,
  ephemeral: `
    DeleteAllWelcomeMessages DeleteMessage DeleteWelcomeMessage EditMessage ReportMessage SendMessage`,
  folders: `
    EditPeerFolders`,
  help: `
    AcceptTermsOfService DismissSuggestion EditUserInfo HidePromoData SaveAppLog SetBotUpdatesStatus`,
  messages: `
    AcceptEncryption AcceptUrlAuth AddChatUser AddPollAnswer AppendTodoList ClearAllDrafts ClearRecentReactions
    ClearRecentStickers ClickSponsoredMessage ComposeMessageWithAI ComposeRichMessageWithAI CreateChat
    CreateForumTopic DeclineUrlAuth DeleteChat DeleteChatUser DeleteExportedChatInvite DeleteFactCheck
    DeleteHistory DeleteMessages DeleteParticipantReaction DeleteParticipantReactions DeletePhoneCallHistory
    DeletePollAnswer DeleteQuickReplyMessages DeleteQuickReplyShortcut DeleteRevokedExportedChatInvites
    DeleteSavedHistory DeleteScheduledMessages DeleteTopicHistory DiscardEncryption EditChatAbout EditChatAdmin
    EditChatCreator EditChatDefaultBannedRights EditChatParticipantRank EditChatPhoto EditChatTitle
    EditExportedChatInvite EditFactCheck EditForumTopic EditInlineBotMessage EditMessage EditQuickReplyShortcut
    FaveSticker ForwardMessages HideAllChatJoinRequests HideChatJoinRequest HidePeerSettingsBar ImportChatInvite
    InitHistoryImport InstallStickerSet MarkDialogUnread MigrateChat ProlongWebView RateTranscribedAudio
    ReadDiscussion ReadEncryptedHistory ReadFeaturedStickers ReadHistory ReadMentions ReadMessageContents
    ReadPollVotes ReadReactions ReadSavedHistory ReorderPinnedDialogs ReorderPinnedForumTopics
    ReorderPinnedSavedDialogs ReorderQuickReplies ReorderStickerSets Report ReportEncryptedSpam
    ReportMessagesDelivery ReportMusicListen ReportReaction ReportReadMetrics ReportSpam ReportSponsoredMessage
    SaveDefaultSendAs SaveDraft SaveGif SavePreparedInlineMessage SaveRecentSticker SendBotRequestedPeer
    SendEncrypted SendEncryptedFile SendEncryptedService SendInlineBotResult SendMedia SendMessage
    SendMultiMedia SendPaidReaction SendQuickReplyMessages SendReaction SendScheduledMessages
    SendScreenshotNotification SendVote SendWebViewData SendWebViewResultMessage SetBotCallbackAnswer
    SetBotGuestChatResult SetBotPrecheckoutResults SetBotShippingResults SetChatAvailableReactions SetChatTheme
    SetChatWallPaper SetDefaultHistoryTTL SetDefaultReaction SetEncryptedTyping SetGameScore SetHistoryTTL
    SetInlineBotResults SetInlineGameScore SetTyping StartBot StartHistoryImport ToggleBotInAttachMenu
    ToggleDialogFilterTags ToggleDialogPin ToggleNoForwards TogglePaidReactionPrivacy TogglePeerTranslations
    ToggleSavedDialogPin ToggleStickerSets ToggleSuggestedPostApproval ToggleTodoCompleted UninstallStickerSet
    UnpinAllMessages UpdateDialogFilter UpdateDialogFiltersOrder UpdatePinnedForumTopic UpdatePinnedMessage
    UpdateSavedReactionTag`,
  none: `
    DestroyAuthKey DestroySession ReqDHParams ReqPq ReqPqMulti RpcDropAnswer SetClientDHParams`,
  payments: `
    ApplyGiftCode AssignAppStoreTransaction AssignPlayMarketTransaction BotCancelStarsSubscription
    ChangeStarsSubscription ClearSavedInfo ConnectStarRefBot ConvertStarGift CraftStarGift
    CreateStarGiftCollection DeleteStarGiftCollection EditConnectedStarRefBot FulfillStarsSubscription
    LaunchPrepaidGiveaway RefundStarsCharge ReorderStarGiftCollections SaveStarGift SendPaymentForm
    SendStarGiftOffer SendStarsForm ToggleChatStarGiftNotifications ToggleStarGiftsPinnedToTop TransferStarGift
    UpdateStarGiftCollection UpdateStarGiftPrice UpgradeStarGift`,
  phone: `
    AcceptCall ConfirmCall CreateConferenceCall CreateGroupCall DeclineConferenceCallInvite
    DeleteConferenceCallParticipants DeleteGroupCallMessages DeleteGroupCallParticipantMessages DiscardCall
    DiscardGroupCall EditGroupCallParticipant EditGroupCallTitle InviteConferenceCallParticipant
    InviteToGroupCall JoinGroupCall JoinGroupCallPresentation LeaveGroupCall LeaveGroupCallPresentation
    SaveCallDebug SaveCallLog SaveDefaultGroupCallJoinAs SaveDefaultSendAs SendConferenceCallBroadcast
    SendGroupCallEncryptedMessage SendGroupCallMessage SendSignalingData SetCallRating StartScheduledGroupCall
    ToggleGroupCallRecord ToggleGroupCallSettings ToggleGroupCallStartSubscription`,
  photos: `
    DeletePhotos UpdateProfilePhoto UploadContactProfilePhoto UploadProfilePhoto`,
  premium: `
    ApplyBoost`,
  smsjobs: `
    FinishJob Join Leave UpdateSettings`,
  stickers: `
    AddStickerToSet ChangeSticker ChangeStickerPosition CreateStickerSet DeleteStickerSet RemoveStickerFromSet
    RenameStickerSet ReplaceSticker SetStickerSetThumb`,
  stories: `
    ActivateStealthMode CreateAlbum DeleteAlbum DeleteStories EditStory IncrementStoryViews ReadStories
    ReorderAlbums Report SendReaction SendStory StartLive ToggleAllStoriesHidden TogglePeerStoriesHidden
    TogglePinned TogglePinnedToTop UpdateAlbum`,
  users: `
    SetSecureValueErrors`,
};

/** Full names: `"messages.SendMessage"`. */
export const judgedWrites: readonly string[] = Object.entries(byNamespace).flatMap(([namespace, names]) =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => (namespace === "none" ? name : `${namespace}.${name}`)),
);
